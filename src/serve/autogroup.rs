//! Room for the kernel's own threads, on which the end of every flush can depend.

/// Lets the kernel's threads pass, where this process is alone in a session. Linux then has a
/// scheduling group for it (sched(7), "The autogroup feature"), and one that keeps all processors
/// busy kept them waiting for seconds (6.18): a flush of a file that had grown did not end,
/// although the disk was done. A group with half their weight never did. A group that somebody has
/// set is left alone, as is one that is shared, a shell's for one.
///
/// To be called before [`forgo_core_dumps`](super::forgo_core_dumps), after which only root may.
pub fn make_way_for_kernel() {
    #[cfg(target_os = "linux")]
    {
        const GROUP: &str = "/proc/self/autogroup";
        /// About half the weight of 0.
        const NICE: &str = "3";

        // Of a session whose leader another namespace hides, the number is 0 (proc_pid_stat(5)).
        let session = || {
            let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
            let (_, after_name) = stat.rsplit_once(')')?;
            after_name.split_ascii_whitespace().nth(3)?.parse::<u32>().ok()
        };
        let is_alone = session() == Some(std::process::id());
        let is_unset = || {
            let group = std::fs::read_to_string(GROUP);
            group.is_ok_and(|group| group.trim_end().ends_with(" nice 0"))
        };
        if is_alone
            && is_unset()
            && let Err(error) = std::fs::write(GROUP, NICE)
        {
            tracing::debug!(%error, "cannot lower the weight of this session's scheduling group");
        }
    }
}
