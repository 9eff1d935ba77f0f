//! Names of datasets, by the naming conventions of `OpenLineage` (<https://openlineage.io/docs/spec/naming>): what is a file or an object
//! has the name that any other tool gives it. No name holds a query or a credential.

use std::path::Path;

use reqwest::Url;

use crate::{
    net::redact,
    settings::{BucketUrl, Location, OutputLocation, Settings, SourceKind},
};

/// The namespace of files.
const FILES: &str = "file";

/// The name of a dataset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DatasetName {
    /// Where it is: `file`, `s3://bucket`, or the origin of a URL.
    pub namespace: String,
    /// What it is there: a path or a key.
    pub name: String,
}

impl DatasetName {
    fn new(namespace: String, name: String) -> DatasetName {
        DatasetName { namespace: redact::text(&namespace).into_owned(), name: redact::text(&name).into_owned() }
    }

    /// The name of a source.
    pub fn of_location(location: &Location) -> DatasetName {
        match location {
            Location::Http(url) => DatasetName::of_url(url),
            Location::Files(path) => DatasetName::new(FILES.to_owned(), absolute(Path::new(path))),
            Location::Bucket(objects) => DatasetName::new(namespace_of(&objects.bucket), rooted(&objects.key)),
        }
    }

    /// The name of what a URL answers: its origin, and its path.
    fn of_url(url: &Url) -> DatasetName {
        DatasetName::new(url.origin().ascii_serialization(), rooted(url.path().trim_matches('/')))
    }

    /// The name of a place beneath an output.
    pub fn of_output(output: &OutputLocation, place: &str) -> DatasetName {
        match output {
            OutputLocation::Folder(folder) => DatasetName::new(FILES.to_owned(), absolute(&folder.join(place))),
            OutputLocation::Bucket(storage) => {
                let key = format!("{}/{place}", storage.location.prefix);
                DatasetName::new(namespace_of(&storage.location), key.trim_start_matches('/').to_owned())
            }
        }
    }

    /// The dataset as one text that is a URI.
    pub fn uri(&self) -> String {
        if self.namespace == FILES {
            return Url::from_file_path(&self.name).map_or_else(|()| format!("{FILES}:{}", self.name.replace(' ', "%20")), String::from);
        }
        let text = format!("{}/{}", self.namespace, self.name.trim_start_matches('/'));
        Url::parse(&text).map_or(text, String::from)
    }
}

/// The name of what stands at the root.
fn rooted(name: &str) -> String {
    if name.is_empty() { "/".to_owned() } else { name.to_owned() }
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn namespace_of(bucket: &BucketUrl) -> String {
    format!("{}://{}", bucket.scheme.as_str(), bucket.bucket)
}

/// The dataset of each source that is configured. Lists of one URL, as in GraphQL, are told apart by the name of the source.
pub fn inputs_of(settings: &Settings) -> Vec<(SourceKind, DatasetName)> {
    let sources =
        [(SourceKind::Orders, &settings.orders), (SourceKind::Users, &settings.users), (SourceKind::Products, &settings.products)];
    let named = sources.into_iter().filter_map(|(kind, source)| Some((kind, DatasetName::of_location(&source.as_ref()?.location))));
    let named: Vec<_> = named.collect();
    let is_shared = |name: &DatasetName| named.iter().filter(|(_, other)| other == name).count() > 1;
    let told_apart = |(kind, dataset): &(SourceKind, DatasetName)| {
        let name = if is_shared(dataset) { format!("{}#{}", dataset.name, kind.table()) } else { dataset.name.clone() };
        (*kind, DatasetName { namespace: dataset.namespace.clone(), name })
    };
    named.iter().map(told_apart).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Source;

    fn named(location: &str) -> (String, String) {
        let DatasetName { namespace, name } = DatasetName::of_location(&location.parse().unwrap());
        (namespace, name)
    }

    #[test]
    fn sources_have_the_names_of_the_conventions_and_no_query() {
        for (location, namespace, name) in [
            ("https://shop.example/api/orders?token=hush&a=b", "https://shop.example", "api/orders"),
            ("http://localhost:8080/", "http://localhost:8080", "/"),
            ("/data/orders.ndjson", "file", "/data/orders.ndjson"),
            ("s3://shop/export/2026-*.csv", "s3://shop", "export/2026-*.csv"),
            ("gs://shop/", "gs://shop", "/"),
            ("az://shop/a", "az://shop", "a"),
        ] {
            assert_eq!(named(location), (namespace.to_owned(), name.to_owned()), "{location}");
        }
        assert!(Path::new(&named("orders.ndjson").1).is_absolute());
    }

    #[test]
    fn two_lists_of_one_url_are_two_datasets() {
        let source = |location: &str| Some(Source::from(location.parse::<Location>().unwrap()));
        let mut settings = Settings::plain(std::path::PathBuf::from("output"));
        (settings.orders, settings.users) = (source("https://h/graphql"), source("https://h/graphql?x=1"));
        settings.products = source("https://h/products");
        let names: Vec<_> = inputs_of(&settings).into_iter().map(|(_, dataset)| dataset.name).collect();
        assert_eq!(names, ["graphql#orders", "graphql#users", "products"]);
    }

    #[test]
    fn a_place_of_the_output_is_a_path_or_a_key_and_a_uri() {
        let dataset = DatasetName::of_output(&OutputLocation::Folder("/srv/my etl".into()), "curated");
        assert_eq!((dataset.namespace.as_str(), dataset.name.as_str()), ("file", "/srv/my etl/curated"));
        assert_eq!(dataset.uri(), "file:///srv/my%20etl/curated");
        assert_eq!(DatasetName::of_location(&"s3://shop/a b".parse().unwrap()).uri(), "s3://shop/a%20b");
    }
}
