//! Counters per route: dense by the route's slot in a generation, kept by name across generations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Buckets, Class, Counter, Histogram, LE_BOUNDS_US};

/// Series that one route costs: its classes, its latency's bounds, +Inf, sum and count.
const SERIES_PER_ROUTE: usize = Class::COUNT + LE_BOUNDS_US.len() + 3;
/// Label of requests that met no route.
const NO_ROUTE: &str = "_none";
/// Label of routes beyond the bound on series.
const FOLDED: &str = "_other";

/// One route's counters on one worker.
#[derive(Default)]
#[repr(align(128))]
pub struct RouteCounters {
    classes: [Counter; Class::COUNT],
    seconds: Histogram,
}

impl RouteCounters {
    /// Counts a finished request.
    pub fn finished(&self, status: u16, total: Duration) {
        self.classes[Class::of(status) as usize].add(1);
        self.seconds.record(total);
    }

    /// Finished requests of a class.
    pub fn count(&self, class: Class) -> u64 {
        self.classes[class as usize].value()
    }

    /// How long requests took.
    pub fn seconds(&self) -> &Histogram {
        &self.seconds
    }
}

/// A worker's view of one generation: a request keeps it, with its Snapshot, until it has finished.
#[derive(Clone)]
pub struct RouteCells {
    slots: Arc<[Arc<RouteCounters>]>,
    none: Arc<RouteCounters>,
}

impl RouteCells {
    /// The counters of the route at `slot`; of requests without a route for `None`.
    pub fn slot(&self, slot: Option<usize>) -> &RouteCounters {
        slot.and_then(|slot| self.slots.get(slot)).unwrap_or(&self.none)
    }
}

struct Named {
    /// One per worker.
    workers: Vec<Arc<RouteCounters>>,
}

impl Named {
    fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| Arc::default()).collect() }
    }

    fn in_use(&self) -> bool {
        self.workers.iter().any(|cells| Arc::strong_count(cells) > 1)
    }
}

/// All workers' route counters, by the route's name. Locked when a generation is made and when someone looks, never by
/// a worker.
pub struct RouteTable {
    workers: usize,
    slots_max: usize,
    state: Mutex<State>,
}

struct State {
    named: HashMap<String, Named>,
    none: Named,
    folded: Named,
    folded_routes: usize,
}

/// One route's counts over all workers.
pub struct RouteTotals {
    /// The `route` label.
    pub route: String,
    /// Finished requests by [`Class`].
    pub classes: [u64; Class::COUNT],
    /// How long requests took.
    pub seconds: Buckets,
}

impl RouteTable {
    /// A table for so many workers, with at most `series_max` series in `/metrics`.
    pub fn new(workers: usize, series_max: usize) -> Self {
        let state =
            State { named: HashMap::new(), none: Named::new(workers), folded: Named::new(workers), folded_routes: 0 };
        Self { workers, slots_max: series_max / SERIES_PER_ROUTE, state: Mutex::new(state) }
    }

    /// The cells of a new generation, one view per worker, whose slots are `names` in order. A name that an earlier
    /// generation had keeps its counts; names that no generation in use has are forgotten.
    pub fn generation<'a>(&self, names: impl Iterator<Item = &'a str> + Clone) -> Vec<RouteCells> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: std::collections::HashSet<&str> = names.clone().collect();
        state.named.retain(|name, cells| wanted.contains(name.as_str()) || cells.in_use());
        state.folded_routes = 0;
        let mut slots: Vec<Vec<Arc<RouteCounters>>> = vec![Vec::new(); self.workers];
        for name in names {
            let cells = self.cells_of(&mut state, name);
            for (worker, cell) in slots.iter_mut().zip(&cells.workers) {
                worker.push(Arc::clone(cell));
            }
        }
        let none = state.none.workers.iter().cloned();
        slots.into_iter().zip(none).map(|(slots, none)| RouteCells { slots: slots.into(), none }).collect()
    }

    fn cells_of<'s>(&self, state: &'s mut State, name: &str) -> &'s Named {
        if !state.named.contains_key(name) && state.named.len() >= self.slots_max {
            state.folded_routes += 1;
            return &state.folded;
        }
        state.named.entry(name.to_owned()).or_insert_with(|| Named::new(self.workers))
    }

    /// Routes of the newest generation that are counted together under `_other`.
    pub fn folded_routes(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).folded_routes
    }

    /// What each route has counted, by name; `_none` and `_other` last.
    pub fn totals(&self) -> Vec<RouteTotals> {
        let cells = self.cells();
        cells.into_iter().map(|(route, cells)| totals_of(route, &cells)).collect()
    }

    /// How long requests took, over all routes and workers.
    pub fn latency(&self) -> Buckets {
        let mut all = Buckets::default();
        self.cells().iter().flat_map(|(_, cells)| cells).for_each(|cells| all.add(cells.seconds()));
        all
    }

    /// The cells, cloned so that they are read without the lock.
    fn cells(&self) -> Vec<(String, Vec<Arc<RouteCounters>>)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cells: Vec<_> = state.named.iter().map(|(name, cells)| (name.clone(), cells.workers.clone())).collect();
        cells.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        cells.push((NO_ROUTE.to_owned(), state.none.workers.clone()));
        if state.folded_routes > 0 {
            cells.push((FOLDED.to_owned(), state.folded.workers.clone()));
        }
        cells
    }
}

fn totals_of(route: String, cells: &[Arc<RouteCounters>]) -> RouteTotals {
    let mut totals = RouteTotals { route, classes: [0; Class::COUNT], seconds: Buckets::default() };
    for worker in cells {
        for (total, &class) in totals.classes.iter_mut().zip(Class::ALL) {
            *total += worker.count(class);
        }
        totals.seconds.add(worker.seconds());
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn count_of(table: &RouteTable, route: &str) -> Option<u64> {
        table.totals().iter().find(|totals| totals.route == route).map(|totals| totals.classes.iter().sum())
    }

    #[test]
    fn a_name_keeps_its_counts_over_generations_whatever_its_slot() {
        let table = RouteTable::new(2, 20_000);
        let first = table.generation(["a", "b"].into_iter());
        first[0].slot(Some(1)).finished(200, MS);
        let second = table.generation(["b", "c"].into_iter());
        second[1].slot(Some(0)).finished(404, MS);
        assert_eq!(count_of(&table, "b"), Some(2));
        assert_eq!(table.latency().count(), 2);
    }

    #[test]
    fn a_removed_route_stays_until_no_request_holds_its_generation() {
        let table = RouteTable::new(1, 20_000);
        let first = table.generation(["a"].into_iter());
        let _second = table.generation(["b"].into_iter());
        assert_eq!(count_of(&table, "a"), Some(0));
        drop(first);
        let _third = table.generation(["b"].into_iter());
        assert_eq!(count_of(&table, "a"), None);
    }

    #[test]
    fn routes_beyond_the_bound_on_series_are_counted_together() {
        let table = RouteTable::new(1, 2 * SERIES_PER_ROUTE);
        let cells = table.generation(["a", "b", "c", "d"].into_iter());
        (0..4).for_each(|slot| cells[0].slot(Some(slot)).finished(200, MS));
        cells[0].slot(None).finished(404, MS);
        assert_eq!((count_of(&table, "a"), count_of(&table, "_other")), (Some(1), Some(2)));
        assert_eq!((count_of(&table, "_none"), table.folded_routes()), (Some(1), 2));
    }
}
