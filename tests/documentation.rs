//! The documentation as a whole: each link leads to a file that exists and to a heading that it has, each page is on its maps, and the
//! figures of the README are those that were measured.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

/// Maps of all pages: the one that people read, the one that language models read, and the contents of the book.
const MAPS: [&str; 3] = ["docs/README.md", "docs/llms.txt", CONTENTS];

/// The contents of the book that `docs/book.toml` describes.
const CONTENTS: &str = "docs/SUMMARY.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(page: &Path) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

fn collect_pages(folder: &Path, pages: &mut BTreeSet<PathBuf>) {
    for entry in root().join(folder).read_dir().unwrap() {
        let name = folder.join(entry.unwrap().file_name());
        if root().join(&name).is_dir() {
            collect_pages(&name, pages);
        } else if name.extension().is_some_and(|ending| ending == "md") {
            pages.insert(name);
        }
    }
}

/// Every page of docs/.
fn documentation() -> BTreeSet<PathBuf> {
    let mut pages = BTreeSet::new();
    collect_pages(Path::new("docs"), &mut pages);
    pages
}

/// The lines of a page outside of blocks of code, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push((number, line));
        }
    }
    lines
}

/// The targets of the links in a line. What stands between backquotes is no link.
fn targets(line: &str) -> Vec<String> {
    let outside: String = line.split('`').step_by(2).collect();
    outside.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The anchors of a page, as the platforms that show Markdown make them: equal headings are numbered.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept: String = title.trim().chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_')).collect();
        let anchor = kept.to_lowercase().replace(' ', "-");
        let count = seen.entry(anchor.clone()).or_default();
        anchors.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
        *count += 1;
    }
    anchors
}

/// A relative path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => assert!(normal.pop(), "{} leads out of the project", path.display()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

fn is_elsewhere(target: &str) -> bool {
    ["https://", "http://", "mailto:"].iter().any(|scheme| target.starts_with(scheme))
}

/// Where a link leads: a file or folder of the project, and the anchor in it.
fn destination(page: &Path, target: &str) -> (PathBuf, String) {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let place = if path.is_empty() { page.to_owned() } else { normal(&page.parent().unwrap().join(path)) };
    (place, anchor.to_owned())
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let others = ["README.md", "CHANGELOG.md", "docs/llms.txt"].map(PathBuf::from);
    let mut followed = 0;
    let mut broken = Vec::new();
    for page in documentation().into_iter().chain(others) {
        let own = text(&page);
        for (number, line) in prose(&own) {
            for target in targets(line).into_iter().filter(|target| !is_elsewhere(target)) {
                let (place, anchor) = destination(&page, &target);
                let leads = root().join(&place).exists() && (anchor.is_empty() || anchors(&text(&place)).contains(&anchor));
                if !leads {
                    broken.push(format!("{}, line {number}: {target}", page.display()));
                }
                followed += 1;
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(followed > 300, "only {followed} links were found");
}

#[test]
fn no_line_of_prose_is_longer_than_120_characters() {
    for page in documentation().into_iter().chain([PathBuf::from("README.md")]) {
        for (number, line) in prose(&text(&page)) {
            let length = line.chars().count();
            assert!(line.starts_with('|') || length <= 120, "{}, line {number}: {length} characters", page.display());
        }
    }
}

#[test]
fn every_page_is_on_each_map() {
    let mut pages = documentation();
    pages.remove(Path::new(CONTENTS));
    for map in MAPS.map(Path::new) {
        let own = text(map);
        let links = prose(&own).into_iter().flat_map(|(_, line)| targets(line)).filter(|target| !is_elsewhere(target));
        let linked: BTreeSet<_> = links.map(|target| destination(map, &target).0).collect();
        let missing: Vec<_> = pages.iter().filter(|page| page.as_path() != map && !linked.contains(*page)).collect();
        assert!(missing.is_empty(), "{} does not name {missing:?}", map.display());
    }
}

#[test]
fn the_map_for_language_models_has_its_form() {
    let own = text(Path::new("docs/llms.txt"));
    let mut lines = own.lines().filter(|line| !line.is_empty());
    assert!(lines.next().is_some_and(|line| line.starts_with("# ")), "the name of the project comes first");
    assert!(lines.next().is_some_and(|line| line.starts_with("> ")), "then what it is, as a quote");
    let listed = own.lines().skip_while(|line| !line.starts_with("## ")).filter(|line| !line.is_empty());
    for line in listed {
        let is_entry = line.starts_with("- [") && line.contains("): ");
        assert!(is_entry || line.starts_with("## "), "below the first heading, all is a list of links: {line}");
    }
}

/// The words of a table's cell, without emphasis.
fn cells(row: &str) -> Vec<String> {
    row.trim_matches('|').split('|').map(|cell| cell.replace('*', "").trim().to_owned()).collect()
}

/// Seconds and MiB of a tool, as the README writes them, from a table of the measurements.
fn measured(page: &str, heading: &str, tool: &str) -> String {
    let section = page.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
    let mut rows = section.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with('|')).map(cells);
    let row = rows.find(|row| row[0].split_whitespace().next() == Some(tool)).unwrap();
    let mib: u32 = row[3].parse().unwrap();
    let mib = if mib < 1000 { mib.to_string() } else { format!("{},{:03}", mib / 1000, mib % 1000) };
    format!("{} s, {mib} MiB", row[1])
}

#[test]
fn the_figures_of_the_readme_are_the_measured_ones() {
    let (readme, page) = (text(Path::new("README.md")), text(Path::new("docs/performance.md")));
    for (row, heading) in [
        ("| 1,000,000 orders (2,954,918 rows), full load |", "## A full load of 1,000,000 orders (2,954,918 rows"),
        ("| 10,000 orders more |", "An increment of 10,000 orders"),
    ] {
        let shown = readme.lines().find(|line| line.starts_with(row)).unwrap();
        let expected = ["etl", "DuckDB", "Polars"].map(|tool| measured(&page, heading, tool));
        assert_eq!(cells(shown)[1..], expected, "{row}");
    }
}

#[test]
fn anchors_are_made_as_the_platforms_make_them() {
    let page = "# A `b`: c?\n## Equal\n```sh\n# no heading\n```\n## Equal\n### `x_y`, z\n#none\n";
    let expected = ["a-b-c", "equal", "equal-1", "x_y-z"].map(str::to_owned);
    assert_eq!(anchors(page), BTreeSet::from(expected));
    assert_eq!(targets("see [a](b.md#c), `[no](link)` and [`d`](e.md)"), ["b.md#c", "e.md"]);
}

/// The files beneath a folder, relative to it.
fn files_beneath(root: &Path, folder: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in root.join(folder).read_dir().unwrap() {
        let name = folder.join(entry.unwrap().file_name());
        if root.join(&name).is_dir() {
            files_beneath(root, &name, files);
        } else {
            files.insert(name);
        }
    }
}

/// The values of an attribute in HTML.
fn attributes<'h>(html: &'h str, name: &str) -> Vec<&'h str> {
    html.split(&format!("{name}=\"")).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0)).collect()
}

#[test]
fn every_picture_is_shown_and_every_one_that_is_shown_is_there() {
    let mut pictures = BTreeSet::new();
    files_beneath(root(), Path::new("docs/pictures"), &mut pictures);
    assert!(!pictures.is_empty());
    let mut shown = BTreeSet::new();
    for page in documentation().into_iter().chain([PathBuf::from("README.md")]) {
        let own = text(&page);
        let tags = prose(&own).into_iter().flat_map(|(_, line)| attributes(line, "src").into_iter().chain(attributes(line, "srcset")));
        shown.extend(tags.filter(|target| !is_elsewhere(target)).map(|target| destination(&page, target).0));
    }
    assert_eq!(shown, pictures, "shown by a page, and beneath docs/pictures");
}

#[test]
fn the_book_is_built_and_each_of_its_links_leads_somewhere() {
    let Some(mdbook) = std::env::var_os("ETL_TEST_MDBOOK") else {
        eprintln!("skipped: ETL_TEST_MDBOOK names no mdbook");
        return;
    };
    let built = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(mdbook).arg("build").arg(root().join("docs")).arg("-d").arg(built.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("WARN"), "{said}");
    let mut files = BTreeSet::new();
    files_beneath(built.path(), Path::new(""), &mut files);
    assert!(files.iter().any(|file| file.to_string_lossy().starts_with("searchindex")), "it has no search");
    let is_page = |file: &&PathBuf| file.extension().is_some_and(|ending| ending == "html") && !file.ends_with("404.html");
    let pages: BTreeMap<&Path, String> =
        files.iter().filter(is_page).map(|file| (file.as_path(), std::fs::read_to_string(built.path().join(file)).unwrap())).collect();
    let (mut followed, mut broken) = (0, Vec::new());
    // `print.html` has the text of all pages, and links as they are written there.
    for (page, html) in pages.iter().filter(|(page, _)| !page.ends_with("print.html") && !page.ends_with("toc.html")) {
        let text = html.split_once("<main>").and_then(|(_, rest)| rest.split_once("</main>")).unwrap().0;
        for target in attributes(text, "href").into_iter().chain(attributes(text, "src")).filter(|target| !is_elsewhere(target)) {
            let (place, anchor) = destination(page, target);
            let leads = files.contains(&place)
                && (anchor.is_empty() || pages.get(place.as_path()).is_some_and(|html| attributes(html, "id").contains(&anchor.as_str())));
            if !leads {
                broken.push(format!("{}: {target}", page.display()));
            }
            followed += 1;
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(followed > 500 && pages.len() > documentation().len(), "{followed} links of {} pages", pages.len());
}

#[test]
fn each_file_of_tests_is_a_module_of_their_crate() {
    let main = text(Path::new("tests/main.rs"));
    let named: BTreeSet<_> = main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
    let files = root().join("tests").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<_> = files.filter(|file| file.extension().is_some_and(|ending| ending == "rs")).collect();
    let forgotten: Vec<_> =
        files.iter().filter_map(|file| file.file_stem()?.to_str()).filter(|name| *name != "main" && !named.contains(name)).collect();
    assert_eq!(forgotten, [""; 0], "never run: name them in tests/main.rs");
    assert!(files.len() > 70, "the files of tests are not found");
}
