//! The benchmark table: NeoKV against Redis on the same machine, in the same run, under the same
//! load generator.
//!
//! Absolute figures of a shared two-core machine vary from run to run; ratios vary less. So each
//! workload runs on both servers in turn, several rounds, and the medians are divided. A write is
//! compared with `redis-server --appendonly yes --appendfsync always`, which promises what NeoKV's
//! default promises (an OK is on the disk); a read is compared with plain `redis-server`.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`workloads`] | the rows of the table |
//! | [`throughput`] | runs them with `redis-benchmark` |
//! | [`procfs`], [`usage`], [`syscalls`] | what serving them costs the server's process |
//! | [`table`] | the columns |
//! | [`single`], [`figures`] | a large DEL, a restart after a kill, memory, bytes written |
//! | [`restart`] | the longest start after many kills under load |
//! | [`regions`] | what many Regions cost |
//! | [`clients`] | clients of our own, for what follows |
//! | [`larger`], `page_cache` | a data set larger than memory |

pub mod clients;
pub mod figures;
pub mod larger;
mod page_cache;
mod procfs;
pub mod regions;
pub mod restart;
pub mod single;
pub mod syscalls;
pub mod table;
pub mod throughput;
mod usage;
pub mod workloads;

/// The middle of some measurements; of an even number the lower of the two middles. Zero of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn outliers_do_not_change_the_median() {
        assert_eq!(median(vec![5.0, 1.0, 1000.0]), 5.0);
        assert_eq!(median(vec![2.0, 1.0]), 1.0);
        assert_eq!(median(vec![]), 0.0);
    }
}
