//! Metrics that plugins keep for themselves, as Connect's plugin metrics (KIP-877): who asks for the page reads them there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::connector::TaskId;

/// Series of one plugin of one task; further ones are not kept.
pub const SERIES_MAX: usize = 100;
/// Bytes of a name, of a metric or a label, and of a label's value.
pub const NAME_BYTES_MAX: usize = 128;
/// Labels of one series, beside those that say whose it is.
pub const LABELS_MAX: usize = 8;
/// Bounds of a histogram.
pub const BOUNDS_MAX: usize = 20;

/// Whose metrics they are, as Connect's tags say it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricOwner {
    pub connector: Arc<str>,
    pub task: u32,
    /// `transformation` or `predicate`, and the alias; nothing for the task itself.
    pub part: Option<(&'static str, Arc<str>)>,
}

impl MetricOwner {
    /// The task of a connector.
    #[must_use]
    pub fn task(id: &TaskId) -> Self {
        Self { connector: id.connector.clone(), task: id.task, part: None }
    }
}

/// What a metric does.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricKind {
    /// Only grows, and begins anew with its instance.
    Counter,
    Gauge,
    /// Counts values up to each of these bounds, which ascend.
    Histogram(Vec<f64>),
}

/// The metrics of all plugins of a worker. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct PluginMetrics(Arc<Mutex<BTreeMap<MetricOwner, Weak<Mutex<Kept>>>>>);

/// Those of one plugin of one task; they end with it.
#[derive(Debug)]
pub struct OwnMetrics(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    series: Vec<Series>,
    left_out: u64,
}

#[derive(Debug)]
struct Series {
    name: String,
    doc: String,
    kind: MetricKind,
    labels: Vec<(String, String)>,
    value: f64,
    /// Of a histogram: how many values were up to each bound, and of all.
    counts: Vec<u64>,
}

impl PluginMetrics {
    /// For a plugin that begins to work; what an earlier one of the same owner kept is gone.
    #[must_use]
    pub fn begin(&self, owner: MetricOwner) -> OwnMetrics {
        let kept = Arc::<Mutex<Kept>>::default();
        let mut all = lock(&self.0);
        all.retain(|_, kept| kept.strong_count() > 0);
        all.insert(owner, Arc::downgrade(&kept));
        OwnMetrics(kept)
    }

    /// In Prometheus' text format, by the names that the JMX exporter gives Connect's beans of the type `plugins`.
    #[must_use]
    pub fn page(&self) -> String {
        // By name: the kind and text of the first that has it, and the samples of all that agree with it.
        let mut metrics: BTreeMap<String, (&'static str, String, String)> = BTreeMap::new();
        for (owner, kept) in lock(&self.0).iter() {
            let Some(kept) = kept.upgrade() else { continue };
            for series in &lock(&kept).series {
                let name = prometheus_name(&series.name);
                let kind = series.kind_name();
                let (known, _, lines) = metrics.entry(name.clone()).or_insert_with(|| (kind, series.doc.clone(), String::new()));
                if *known == kind {
                    series.write(&name, owner, lines);
                }
            }
        }
        let mut page = String::new();
        for (name, (kind, doc, lines)) in metrics {
            let doc = doc.replace('\\', "\\\\").replace('\n', "\\n");
            let _infallible = write!(page, "# HELP {name} {doc}\n# TYPE {name} {kind}\n{lines}");
        }
        page
    }
}

impl OwnMetrics {
    /// Adds a series, or finds it when it is there, and answers its number. `None`: there are too many already.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn declare(&self, name: &str, kind: MetricKind, doc: &str, labels: Vec<(String, String)>) -> Result<Option<u32>, String> {
        check(name, &kind, &labels)?;
        let mut kept = lock(&self.0);
        if let Some(at) = kept.series.iter().position(|series| series.name == name && series.labels == labels) {
            return match kept.series[at].kind == kind {
                true => Ok(Some(at as u32)),
                false => Err(format!("{name} is a {} already", kept.series[at].kind_name())),
            };
        }
        if kept.series.len() >= SERIES_MAX {
            kept.left_out += 1;
            return Ok(None);
        }
        let counts = if let MetricKind::Histogram(bounds) = &kind { vec![0; bounds.len() + 1] } else { Vec::new() };
        kept.series.push(Series { name: name.to_owned(), doc: doc.to_owned(), kind, labels, value: 0.0, counts });
        Ok(Some(kept.series.len() as u32 - 1))
    }

    /// Changes a series by its number: a counter grows by the value, a gauge becomes it, a histogram takes it in.
    ///
    /// # Errors
    /// There is no such series, or the value makes no sense for it.
    pub fn update(&self, number: u32, value: f64) -> Result<(), String> {
        let mut kept = lock(&self.0);
        let series = kept.series.get_mut(number as usize).ok_or_else(|| format!("there is no metric {number}"))?;
        match &series.kind {
            MetricKind::Counter if value < 0.0 || !value.is_finite() => {
                return Err(format!("the counter {} cannot grow by {value}", series.name));
            }
            MetricKind::Counter => series.value += value,
            MetricKind::Gauge => series.value = value,
            MetricKind::Histogram(_) if value.is_nan() => {
                return Err(format!("the histogram {} cannot take {value}", series.name));
            }
            MetricKind::Histogram(bounds) => {
                series.value += value;
                let all = bounds.iter().chain(std::iter::once(&f64::INFINITY));
                let reached = all.zip(&mut series.counts).filter(|(bound, _)| value <= **bound);
                reached.for_each(|(_, count)| *count += 1);
            }
        }
        Ok(())
    }

    /// How many series were left out since the last call of this.
    #[must_use]
    pub fn take_left_out(&self) -> u64 {
        std::mem::take(&mut lock(&self.0).left_out)
    }
}

impl Series {
    fn kind_name(&self) -> &'static str {
        match self.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram(_) => "histogram",
        }
    }

    fn write(&self, name: &str, owner: &MetricOwner, lines: &mut String) {
        let task = owner.task.to_string();
        let mut labels: Vec<(&str, &str)> = vec![("connector", &owner.connector), ("task", &task)];
        labels.extend(owner.part.as_ref().map(|(what, alias)| (*what, &**alias)));
        labels.extend(self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let MetricKind::Histogram(bounds) = &self.kind else { return line(lines, name, &labels, self.value) };
        let texts: Vec<String> = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]).collect();
        for (bound, count) in texts.iter().zip(&self.counts) {
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            line(lines, &format!("{name}_bucket"), &labels, *count as f64);
        }
        line(lines, &format!("{name}_sum"), &labels, self.value);
        line(lines, &format!("{name}_count"), &labels, self.counts.last().copied().unwrap_or_default() as f64);
    }
}

fn line(lines: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{}=\"{}\"", label_name(name), escaped(value))).collect();
    let value = match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    };
    let _infallible = writeln!(lines, "{name}{{{}}} {value}", labels.join(","));
}

fn prometheus_name(name: &str) -> String {
    format!("kafka_connect_plugins_{}", label_name(name))
}

/// With `_` for every letter that Prometheus does not take.
fn label_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn check(name: &str, kind: &MetricKind, labels: &[(String, String)]) -> Result<(), String> {
    let is_name = |name: &str| {
        (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let mut shown = name.to_owned();
    shown.truncate(shown.floor_char_boundary(NAME_BYTES_MAX));
    if !is_name(name) {
        return Err(format!("{shown:?} is no name of a metric: a letter, then letters, digits, -, _ and ."));
    }
    if labels.len() > LABELS_MAX {
        return Err(format!("{name} has {} labels: at most {LABELS_MAX} are allowed", labels.len()));
    }
    for (at, (label, value)) in labels.iter().enumerate() {
        let owners = ["connector", "task", "transformation", "predicate", "le"];
        let is_known = owners.contains(&label_name(label).as_str())
            || labels[..at].iter().any(|(other, _)| label_name(other) == label_name(label));
        if !is_name(label) || is_known || value.len() > NAME_BYTES_MAX {
            return Err(format!("{name}: a label is no name, stands there twice, or has more than {NAME_BYTES_MAX} bytes"));
        }
    }
    if let MetricKind::Histogram(bounds) = kind {
        let ascend = bounds.windows(2).all(|pair| pair[0] < pair[1]) && bounds.iter().all(|bound| bound.is_finite());
        if bounds.is_empty() || bounds.len() > BOUNDS_MAX || !ascend {
            return Err(format!("{name}: a histogram has 1 to {BOUNDS_MAX} bounds, which ascend"));
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_page_has_connects_names_and_tags() {
        let all = PluginMetrics::default();
        let task = MetricOwner { connector: "orders".into(), task: 1, part: None };
        let transform = MetricOwner { part: Some(("transformation", "mask".into())), ..task.clone() };
        let (own, other) = (all.begin(task.clone()), all.begin(transform));
        let number =
            own.declare("requests-total", MetricKind::Counter, "Requests.", labels(&[("code", "2\"")])).unwrap().unwrap();
        own.update(number, 2.0).unwrap();
        own.update(number, 1.0).unwrap();
        let again = own.declare("requests-total", MetricKind::Counter, "Requests.", labels(&[("code", "2\"")])).unwrap();
        assert_eq!(again, Some(number));
        let number = other.declare("took.s", MetricKind::Histogram(vec![0.5, 1.0]), "Time.", Vec::new()).unwrap().unwrap();
        other.update(number, 0.7).unwrap();
        // Another kind under a known name is not shown.
        let number = other.declare("requests-total", MetricKind::Gauge, "", Vec::new()).unwrap().unwrap();
        other.update(number, f64::NAN).unwrap();
        let of = "connector=\"orders\",task=\"1\"";
        let expected = format!(
            "# HELP kafka_connect_plugins_requests_total Requests.\n# TYPE kafka_connect_plugins_requests_total counter\n\
             kafka_connect_plugins_requests_total{{{of},code=\"2\\\"\"}} 3\n\
             # HELP kafka_connect_plugins_took_s Time.\n# TYPE kafka_connect_plugins_took_s histogram\n\
             kafka_connect_plugins_took_s_bucket{{{of},transformation=\"mask\",le=\"0.5\"}} 0\n\
             kafka_connect_plugins_took_s_bucket{{{of},transformation=\"mask\",le=\"1\"}} 1\n\
             kafka_connect_plugins_took_s_bucket{{{of},transformation=\"mask\",le=\"+Inf\"}} 1\n\
             kafka_connect_plugins_took_s_sum{{{of},transformation=\"mask\"}} 0.7\n\
             kafka_connect_plugins_took_s_count{{{of},transformation=\"mask\"}} 1\n"
        );
        assert_eq!(all.page(), expected);
        drop((own, other));
        assert_eq!(all.page(), "", "they end with their owners");
    }

    #[test]
    fn what_is_too_much_or_wrong_is_not_kept() {
        let own = PluginMetrics::default().begin(MetricOwner { connector: "a".into(), task: 0, part: None });
        let declare = |name: &str, kind, pairs: &[(&str, &str)]| own.declare(name, kind, "", labels(pairs));
        for number in 0..SERIES_MAX {
            assert_eq!(declare(&format!("m{number}"), MetricKind::Gauge, &[]), Ok(Some(number as u32)));
        }
        assert_eq!(declare("more", MetricKind::Gauge, &[]), Ok(None));
        assert_eq!((own.take_left_out(), own.take_left_out()), (1, 0));
        for (name, kind, pairs) in [
            ("", MetricKind::Gauge, &[][..]),
            ("1a", MetricKind::Gauge, &[]),
            ("a b", MetricKind::Gauge, &[]),
            ("a", MetricKind::Gauge, &[("task", "7")]),
            ("a", MetricKind::Gauge, &[("x-y", "1"), ("x_y", "2")]),
            ("a", MetricKind::Histogram(vec![2.0, 1.0]), &[]),
            ("m1", MetricKind::Counter, &[]),
        ] {
            assert!(declare(name, kind, pairs).is_err(), "{name} {pairs:?}");
        }
        assert!(declare(&"a".repeat(200), MetricKind::Gauge, &[]).is_err());
        assert!(own.update(4711, 1.0).is_err());
    }
}
