//! glommio executors, one per core.

use std::future::Future;

use glommio::{LocalExecutorBuilder, Placement};

/// The executors' cores: `--cpu 1`, `--cpu 2,3`; without it one executor that the kernel places.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Cores {
    /// Cores to pin executors to, one executor each.
    #[arg(long, value_delimiter = ',', value_name = "N")]
    cpu: Vec<usize>,
}

impl Cores {
    /// How many executors there will be.
    pub(crate) fn count(&self) -> usize {
        self.cpu.len().max(1)
    }

    /// Runs `main` on every executor with its number, and collects what they give.
    pub(crate) fn run<F, T>(&self, main: impl Fn(usize) -> F + Clone + Send + 'static) -> Result<Vec<T>, String>
    where
        F: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let placements: Vec<_> = match &self.cpu[..] {
            [] => vec![Placement::Unbound],
            cpus => cpus.iter().map(|cpu| Placement::Fixed(*cpu)).collect(),
        };
        let mut handles = Vec::new();
        for (number, placement) in placements.into_iter().enumerate() {
            let main = main.clone();
            // Sockets use none of the memory that glommio registers for files: ask for the least (64 KiB), the
            // default of 10 MiB would count against RLIMIT_MEMLOCK.
            let builder = LocalExecutorBuilder::new(placement).io_memory(1).ring_depth(1024).name("bench");
            handles.push(builder.spawn(move || main(number)).map_err(|e| format!("an executor: {e}"))?);
        }
        handles.into_iter().map(|handle| handle.join().map_err(|e| format!("an executor: {e}"))).collect()
    }
}
