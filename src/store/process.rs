//! Processes: a name for this one that no other has, whether another one of this machine lives, and a name of the
//! machine.
//!
//! Reads `/proc` and nothing else. Does not know what a process was at: leases, staged files and scratch folders do.

use std::{fs, sync::LazyLock};

use super::disk;

/// What tells this process from any other, on this machine and elsewhere: the boot, the namespace of process ids, the id and the
/// start of the process.
pub(super) fn this_process() -> String {
    let pid = std::process::id();
    let start = start_of(pid).unwrap_or_default();
    format!("{}:{pid}:{start}", process_space())
}

/// The boot of the machine and the namespace of process ids.
fn process_space() -> &'static str {
    static SPACE: LazyLock<String> = LazyLock::new(read_process_space);
    &SPACE
}

fn read_process_space() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default();
    // The name of the namespace has a colon, which is what separates the parts.
    format!("{}/{}", boot.trim(), space.replace(':', "-"))
}

/// A short name of this machine and its namespace of process ids.
pub(super) fn machine() -> String {
    disk::checksum(process_space().as_bytes())[..8].to_owned()
}

/// Whether a process of this machine runs.
pub(super) fn is_running(pid: u32) -> bool {
    start_of(pid).is_some()
}

/// When a process started, in ticks since the boot; `None` if there is no such process.
pub(super) fn start_of(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in brackets, may hold spaces.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    if matches!(fields.next(), Some("Z" | "X")) {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

/// Whether a process is known to be dead: it ran in this space, and runs no more.
pub(super) fn is_dead(process: &str) -> bool {
    let Some((space, rest)) = process.split_once(':') else { return false };
    let Some((pid, start)) = rest.split_once(':') else { return false };
    let Ok(pid) = pid.parse() else { return false };
    !space.starts_with('/') && space == process_space() && start_of(pid).as_deref() != Some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_to_be_dead_only_on_its_own_machine() {
        let own = this_process();
        assert!(!is_dead(&own));
        let (space, rest) = own.split_once(':').unwrap();
        let (pid, _) = rest.split_once(':').unwrap();
        assert!(is_dead(&format!("{space}:{pid}:1")), "the same number, and another process");
        assert!(!is_dead(&format!("elsewhere:{pid}:1")) && !is_dead("") && !is_dead(":::"));
    }
}
