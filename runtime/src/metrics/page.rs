//! The page that Prometheus reads: its text format, version 0.0.4.

use std::fmt::Write as _;

use super::histogram::{BOUNDS_S, Histogram};
use super::table::{Kind, Metric, label_name};

/// The media type of the page.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Samples, kept together by metric as the format wants it.
#[derive(Debug)]
pub struct Page {
    /// The name and the lines of each metric, by its place in the table.
    metrics: Vec<(String, String)>,
}

impl Default for Page {
    fn default() -> Self {
        Self { metrics: Metric::ALL.iter().map(|metric| (metric.name(), String::new())).collect() }
    }
}

impl Page {
    /// A number; `labels` are the values of the group's labels, in their order.
    pub fn number(&mut self, metric: Metric, labels: &[&str], value: f64) {
        debug_assert!(matches!(metric.row().kind, Kind::Counter | Kind::Gauge), "{metric:?}");
        let labels = own_labels(metric, labels);
        self.line(metric, "", &labels, value);
    }

    /// A count.
    pub fn count(&mut self, metric: Metric, labels: &[&str], value: u64) {
        self.number(metric, labels, value as f64);
    }

    /// A text.
    pub fn text(&mut self, metric: Metric, labels: &[&str], text: &str) {
        debug_assert!(metric.row().kind == Kind::Text, "{metric:?}");
        let mut labels = own_labels(metric, labels);
        labels.push((metric.row().attribute, text));
        self.line(metric, "", &labels, 1.0);
    }

    /// All buckets of a histogram.
    pub fn histogram(&mut self, metric: Metric, labels: &[&str], histogram: &Histogram) {
        debug_assert!(metric.row().kind == Kind::Histogram, "{metric:?}");
        let labels = own_labels(metric, labels);
        let counts = histogram.cumulative();
        let bounds = BOUNDS_S.map(number_text).into_iter().chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(counts) {
            let mut labels = labels.clone();
            labels.push(("le", &bound));
            self.line(metric, "_bucket", &labels, count as f64);
        }
        self.line(metric, "_sum", &labels, histogram.sum_s());
        self.line(metric, "_count", &labels, counts[BOUNDS_S.len()] as f64);
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> String {
        let mut page = String::with_capacity(self.metrics.iter().map(|(_, lines)| lines.len() + 200).sum());
        for (metric, (name, lines)) in Metric::ALL.iter().zip(&self.metrics).filter(|(_, (_, lines))| !lines.is_empty()) {
            let row = metric.row();
            let kind = match row.kind {
                Kind::Counter => "counter",
                Kind::Gauge | Kind::Text => "gauge",
                Kind::Histogram => "histogram",
            };
            let _infallible = write!(page, "# HELP {name} {}\n# TYPE {name} {kind}\n{lines}", row.doc);
        }
        page
    }

    fn line(&mut self, metric: Metric, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let (metric, line) = &mut self.metrics[metric as usize];
        line.push_str(metric);
        line.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let _infallible = write!(line, "{open}{}=\"{}\"", label_name(name), escaped(value));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _infallible = writeln!(line, "{close} {}", number_text(value));
    }
}

fn own_labels<'l>(metric: Metric, values: &[&'l str]) -> Vec<(&'l str, &'l str)> {
    let names = metric.row().group.labels;
    debug_assert_eq!(names.len(), values.len(), "{metric:?}");
    names.iter().copied().zip(values.iter().copied()).collect()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number_text(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".into() } else { "-Inf".into() }
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn samples_of_a_metric_stand_together_whatever_came_between() {
        let mut page = Page::default();
        page.count(Metric::ReadTotal, &["a", "0"], 5);
        page.number(Metric::PutMaxTime, &["a", "0"], f64::NAN);
        page.count(Metric::ReadTotal, &["b\"\\\n", "1"], 7);
        page.text(Metric::ConnectorStatus, &["a"], "running");
        let page = page.finish();
        let name = Metric::ReadTotal.name();
        let expected = format!(
            "# TYPE {name} counter\n{name}{{connector=\"a\",task=\"0\"}} 5\n{name}{{connector=\"b\\\"\\\\\\n\",task=\"1\"}} 7\n"
        );
        assert!(page.contains(&expected), "{page}");
        assert!(
            page.contains("kafka_connect_sink_task_metrics_put_batch_max_time_ms{connector=\"a\",task=\"0\"} NaN\n"),
            "{page}"
        );
        assert!(page.contains("kafka_connect_connector_metrics_status{connector=\"a\",status=\"running\"} 1\n"), "{page}");
    }

    #[test]
    fn buckets_are_cumulative() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_millis(2));
        histogram.record(Duration::from_secs(120));
        let mut page = Page::default();
        page.histogram(Metric::StageDuration, &["a", "0", "put"], &histogram);
        let page = page.finish();
        let line = |rest: &str| format!("penstock_task_stage_duration_seconds{rest}\n");
        let labels = "connector=\"a\",task=\"0\",stage=\"put\"";
        for expected in [
            line(&format!("_bucket{{{labels},le=\"0.001\"}} 0")),
            line(&format!("_bucket{{{labels},le=\"0.005\"}} 1")),
            line(&format!("_bucket{{{labels},le=\"+Inf\"}} 2")),
            line(&format!("_sum{{{labels}}} 120.002")),
            line(&format!("_count{{{labels}}} 2")),
        ] {
            assert!(page.contains(&expected), "{expected} is not in\n{page}");
        }
    }
}
