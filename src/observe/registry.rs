//! Registering metrics so that each can be listed, and labelled ones read back.

use prometheus_client::{
    encoding::EncodeMetric,
    metrics::{TypedMetric, family::Family},
    registry::{Registry, Unit},
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

/// A count that only grows.
pub type Counter = prometheus_client::metrics::counter::Counter;
/// A sum of seconds that only grows.
pub type Seconds = prometheus_client::metrics::counter::Counter<f64, AtomicU64>;
/// A value that goes up and down.
pub type Gauge = prometheus_client::metrics::gauge::Gauge;

type Labels = Vec<(&'static str, String)>;

/// A metric per combination of label values.
pub struct Labelled<M> {
    names: &'static [&'static str],
    family: Family<Labels, M, fn() -> M>,
    /// What [`Family`] cannot list.
    handles: Mutex<BTreeMap<Vec<String>, M>>,
}

impl<M: Clone> Labelled<M> {
    fn new(names: &'static [&'static str], make: fn() -> M) -> Self {
        Self { names, family: Family::new_with_constructor(make), handles: Mutex::default() }
    }

    /// The metric of these label values, in the order of the labels' names. Take it once and keep it.
    pub fn with(&self, values: &[&str]) -> M {
        debug_assert_eq!(values.len(), self.names.len(), "one value for each of {:?}", self.names);
        let labels: Labels = self.names.iter().copied().zip(values.iter().map(|v| (*v).to_owned())).collect();
        let metric = self.family.get_or_create_owned(&labels);
        let key = values.iter().map(|v| (*v).to_owned()).collect();
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert_with(|| metric.clone());
        metric
    }

    /// All label values so far, with their metrics.
    pub fn all(&self) -> Vec<(Vec<String>, M)> {
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.iter().map(|(values, metric)| (values.clone(), metric.clone())).collect()
    }
}

impl<M> fmt::Debug for Labelled<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Labelled").field("names", &self.names).finish_non_exhaustive()
    }
}

/// A metric as `docs/metrics.md` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Full name, as it is scraped (histograms add `_bucket`, `_sum` and `_count`).
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub about: &'static str,
}

/// Builds the registry and the list beside it.
pub(super) struct Building {
    pub(super) registry: Registry,
    pub(super) listing: Vec<Listed>,
}

impl Building {
    pub(super) fn new() -> Self {
        Self { registry: Registry::default(), listing: Vec::new() }
    }

    /// Registers a metric without labels. `name` ends with its unit if it has one; what the format itself appends is left out.
    pub(super) fn plain<M: Clone + EncodeMetric + TypedMetric + Send + Sync + fmt::Debug + 'static>(
        &mut self,
        name: &str,
        about: &'static str,
        metric: M,
    ) -> M {
        self.register::<M>(name, &[], about, metric.clone());
        metric
    }

    /// Registers a metric with labels.
    pub(super) fn labelled<M: Clone + EncodeMetric + TypedMetric + Send + Sync + fmt::Debug + 'static>(
        &mut self,
        name: &str,
        labels: &'static [&'static str],
        about: &'static str,
        make: fn() -> M,
    ) -> Labelled<M> {
        let labelled = Labelled::new(labels, make);
        self.register::<M>(name, labels, about, labelled.family.clone());
        labelled
    }

    /// Lists a metric that is computed when it is asked for.
    pub(super) fn computed(&mut self, name: &str, kind: &'static str, about: &'static str) {
        self.listing.push(Listed { name: name.to_owned(), kind, labels: &[], about });
    }

    fn register<M: TypedMetric>(
        &mut self,
        name: &str,
        labels: &'static [&'static str],
        about: &'static str,
        metric: impl EncodeMetric + Send + Sync + fmt::Debug + 'static,
    ) {
        let kind = M::TYPE.as_str();
        let full = if kind == "counter" { format!("sluicegate_{name}_total") } else { format!("sluicegate_{name}") };
        self.listing.push(Listed { name: full, kind, labels, about });
        // The unit is appended by the registry, so it is cut off here.
        let unit = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];
        let help = about.trim_end_matches('.');
        match unit.into_iter().find_map(|(suffix, unit)| Some((name.strip_suffix(suffix)?, unit))) {
            Some((bare, unit)) => self.registry.register_with_unit(format!("sluicegate_{bare}"), help, unit, metric),
            None => self.registry.register(format!("sluicegate_{name}"), help, metric),
        }
    }
}
