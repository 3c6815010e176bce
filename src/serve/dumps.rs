//! No core dumps: the memory of a server holds its keys, and whatever password is being hashed.

/// Has the system write no core dump of this process, and let no other process of the same owner
/// look into its memory, whatever limits it was started with. Does so on Linux only.
pub fn forgo_core_dumps() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};

        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::warn!(%error, "cannot disable core dumps; a crash may write keys to disk");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    #[test]
    fn a_process_that_forgoes_core_dumps_says_so() {
        super::forgo_core_dumps();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }
}
