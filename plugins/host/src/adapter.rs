//! A component's class as a [`Transform`] or [`Predicate`]: one call for each batch, and poison rows found when one traps.
//!
//! After a trap nothing of the call remains. A fresh instance gets the rows in parts, and these in smaller ones, until the rows that do it
//! stand alone ([`Search`]); these fail with the guest's message and the others pass.

use std::sync::Arc;
use std::time::Instant;

use penstock_api::batch::Stage;
use penstock_api::transform::TransformContext;
use penstock_api::{Batch, Error, ErrorKind, Flow, Predicate, Props, Record, Result, Row, Transform, Verdict, async_trait};

use crate::batch::{Call, Done, Emitted, is_set};
use crate::component::filled_in;
use crate::grants::{self, Grants};
use crate::guest_log::Owner;
use crate::instance::{Answer, Instance, Loaded};
use crate::search::{Search, Step, Stop};

/// One use of a class by one task.
pub(crate) struct Guest {
    loaded: Arc<Loaded>,
    class: Arc<str>,
    props: Props,
    grants: Arc<Grants>,
    owner: Owner,
    instance: Option<Instance>,
    fails_fast: bool,
}

pub(crate) struct ComponentTransform(pub Guest);
pub(crate) struct ComponentPredicate(pub Guest);

impl Guest {
    /// Takes properties as the user wrote them; defaults are filled in.
    pub(crate) fn new(loaded: Arc<Loaded>, class: Arc<str>, config: &penstock_api::ConfigDef, given: &Props) -> Result<Self> {
        let (props, wrong) = filled_in(config, given);
        if let Some(message) = wrong {
            return Err(Error::config(message));
        }
        let grants = Arc::new(Grants::new(&props, &loaded.engine.config.grants)?);
        Ok(Self {
            loaded,
            class,
            props: grants::shown(&props),
            grants,
            owner: Owner::default(),
            instance: None,
            fails_fast: false,
        })
    }

    async fn start(&mut self, context: &TransformContext) -> Result<()> {
        self.owner = Owner {
            connector: context.task.connector.clone(),
            task: context.task.task,
            alias: context.alias.clone(),
            class: self.class.clone(),
            file: self.loaded.file.clone(),
        };
        self.instance = Some(self.fresh().await?);
        Ok(())
    }

    async fn fresh(&mut self) -> Result<Instance> {
        let class = self.class.clone();
        let at_start = |why: &dyn std::fmt::Display| Error::fatal(format!("cannot start plugin {class}: {why}"));
        let mut instance =
            self.loaded.instantiate(self.owner.clone(), &self.grants).await.map_err(|stopped| at_start(&stopped))?;
        match instance.configure(&class, &self.props, &self.owner).await {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(error)) => Err(error.context(format!("configure plugin {class} ({})", self.loaded.file))),
            Err(stopped) => Err(at_start(&stopped)),
        }
    }

    async fn instance(&mut self) -> Result<&mut Instance> {
        let instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.fresh().await?,
        };
        Ok(self.instance.insert(instance))
    }

    /// Lets the guest work on the live rows. `settle` takes what each call that returned has led to.
    async fn work(
        &mut self,
        batch: &mut Batch,
        stop: &(dyn Fn(&mut Row, Error) + Sync),
        settle: &mut (dyn FnMut(&mut Instance, Call, Answer, &[u32]) -> Result<Batch> + Send),
    ) -> Result<()> {
        let live: Vec<u32> = live_rows(batch);
        if live.is_empty() {
            return Ok(());
        }
        let mut search = Search::new(live.len(), self.loaded.engine.config.call_deadline, self.fails_fast);
        while let Some(step) = search.next() {
            let (rows, allowed) = match step {
                Step::Try { rows, allowed } => (&live[rows], allowed),
                Step::Fail { rows, why } => {
                    fail(batch, &live[rows], &why, stop);
                    continue;
                }
            };
            let instance = self.instance().await?;
            let started = Instant::now();
            let (call, answer) = instance.work(std::mem::take(batch), rows, allowed).await;
            let took = started.elapsed();
            match answer {
                Ok(answer) => {
                    *batch = settle(instance, call, answer, rows).map_err(|error| self.gave_up(error))?;
                    search.returned(took);
                }
                Err(stopped) => {
                    *batch = call.abandon();
                    if stopped.broke_a_limit {
                        self.instance = None;
                        return Err(self.gave_up(Error::fatal(stopped.why)));
                    }
                    instance.warn(&format!(
                        "a fresh instance takes over from one that was stopped on {} records: {stopped}",
                        rows.len()
                    ));
                    self.instance = None;
                    search.stopped(Stop { why: stopped.why, late: stopped.late, took });
                }
            }
        }
        Ok(())
    }

    /// What a plugin said that ends the task, with its name.
    fn gave_up(&self, error: Error) -> Error {
        error.context(format!("plugin {} ({}) cannot go on", self.class, self.loaded.file))
    }

    async fn stop(&mut self) {
        if let Some(instance) = self.instance.take() {
            instance.stop().await;
        }
    }
}

fn live_rows(batch: &Batch) -> Vec<u32> {
    batch.rows().iter().enumerate().filter(|(_, row)| row.is_live()).map(|(at, _)| at as u32).collect()
}

fn fail(batch: &mut Batch, rows: &[u32], message: &str, stop: &(dyn Fn(&mut Row, Error) + Sync)) {
    for &row in rows {
        stop(&mut batch.rows_mut()[row as usize], Error::data(message));
    }
}

/// Puts emitted records behind the rows they were made from, with what became of them. Those of one row are in order.
fn insert(batch: &mut Batch, mut emitted: Vec<Emitted>, stop: impl Fn(&mut Row, Error)) {
    if emitted.is_empty() {
        return;
    }
    // Rows under suspicion may be done last.
    emitted.sort_by_key(|emitted| emitted.behind);
    let rows = std::mem::take(batch).into_rows();
    let mut all = Batch::with_capacity(rows.len() + emitted.len());
    let mut emitted = emitted.into_iter().peekable();
    for (at, row) in rows.into_iter().enumerate() {
        let origin = row.origin;
        all.push_row(row);
        while let Some(next) = emitted.next_if(|next| next.behind as usize == at) {
            let mut row = Row { record: next.record, origin, selected: true, verdict: Verdict::Keep };
            if let Err(error) = next.outcome {
                stop(&mut row, error);
            }
            all.push_row(row);
        }
    }
    *batch = all;
}

/// What an error of the whole call means: it fails each row, or the task.
fn refuse(call: Call, error: Error, rows: &[u32], stop: &(dyn Fn(&mut Row, Error) + Sync)) -> Result<Batch> {
    if matches!(error.kind(), ErrorKind::Config | ErrorKind::Fatal) {
        return Err(error);
    }
    let mut batch = call.abandon();
    for &row in rows {
        stop(&mut batch.rows_mut()[row as usize], Error::new(error.kind(), error.message()));
    }
    Ok(batch)
}

#[async_trait]
impl Transform for ComponentTransform {
    fn fail_fast(&mut self) {
        self.0.fails_fast = true;
    }

    async fn start(&mut self, context: &TransformContext) -> Result<()> {
        self.0.start(context).await
    }

    fn apply(&mut self, _record: &mut Record) -> Result<Flow> {
        Err(Error::fatal(format!("plugin {} is a component: it works on batches, not on single records", self.0.class)))
    }

    async fn apply_batch(&mut self, batch: &mut Batch, context: &TransformContext) -> Result<()> {
        let class = context.class.clone();
        let stop = move |row: &mut Row, error: Error| row.fail(Stage::Transformation, &class, error);
        let mut emitted = Vec::new();
        let mut settle = |instance: &mut Instance, call: Call, answer: Answer, rows: &[u32]| {
            if let Answer::Refused(error) = answer {
                return refuse(call, error, rows, &stop);
            }
            let Done { mut batch, failed, discarded, emitted: behind, fatal } = instance.carry_out(call);
            if let Some(fatal) = fatal {
                return Err(fatal);
            }
            for row in discarded {
                batch.rows_mut()[row as usize].verdict = Verdict::Drop;
            }
            for (row, error) in failed {
                stop(&mut batch.rows_mut()[row as usize], error);
            }
            emitted.extend(behind);
            Ok(batch)
        };
        self.0.work(batch, &stop, &mut settle).await?;
        insert(batch, emitted, &stop);
        Ok(())
    }

    async fn stop(&mut self) {
        self.0.stop().await;
    }
}

#[async_trait]
impl Predicate for ComponentPredicate {
    fn fail_fast(&mut self) {
        self.0.fails_fast = true;
    }

    async fn start(&mut self, context: &TransformContext) -> Result<()> {
        self.0.start(context).await
    }

    fn test(&mut self, _record: &mut Record) -> Result<bool> {
        Err(Error::fatal(format!("plugin {} is a component: it works on batches, not on single records", self.0.class)))
    }

    async fn select(&mut self, batch: &mut Batch, negate: bool, context: &TransformContext) -> Result<()> {
        let class = context.class.clone();
        let stop = move |row: &mut Row, error: Error| row.fail(Stage::Transformation, &class, error);
        let mut settle = |instance: &mut Instance, call: Call, answer: Answer, rows: &[u32]| {
            let matches = match answer {
                Answer::Refused(error) => return refuse(call, error, rows, &stop),
                Answer::Matches(bitmap) if bitmap.len() == rows.len().div_ceil(8) => bitmap,
                Answer::Matches(bitmap) => {
                    let (got, due) = (bitmap.len(), rows.len().div_ceil(8));
                    let error =
                        Error::data(format!("the plugin answered {got} bytes for {} records where {due} are due", rows.len()));
                    return refuse(call, error, rows, &stop);
                }
                Answer::Applied => unreachable!("predicates answer bitmaps"),
            };
            let Done { mut batch, failed, fatal, .. } = instance.carry_out(call);
            if let Some(fatal) = fatal {
                return Err(fatal);
            }
            for (at, &row) in rows.iter().enumerate() {
                batch.rows_mut()[row as usize].selected = is_set(&matches, at) != negate;
            }
            for (row, error) in failed {
                stop(&mut batch.rows_mut()[row as usize], error);
            }
            Ok(batch)
        };
        self.0.work(batch, &stop, &mut settle).await
    }

    async fn stop(&mut self) {
        self.0.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use penstock_api::Payload;

    use super::*;

    fn record(topic: &str) -> Record {
        let (key, value) = (Payload::null(), Payload::null());
        Record {
            topic: topic.into(),
            partition: None,
            offset: None,
            key,
            value,
            headers: std::iter::empty().collect(),
            timestamp: None,
        }
    }

    #[test]
    fn emitted_records_stand_behind_theirs_in_whatever_order_the_rows_were_done() {
        let mut batch = Batch::default();
        (0..3).for_each(|row| batch.push(record(&format!("{row}")), row));
        let emitted = |behind, topic: &str| Emitted { behind, record: record(topic), outcome: Ok(()) };
        insert(&mut batch, vec![emitted(0, "0a"), emitted(0, "0b"), emitted(2, "2a"), emitted(1, "1a")], |_, _| {});
        let order: Vec<(&str, u32)> = batch.rows().iter().map(|row| (&*row.record.topic, row.origin)).collect();
        assert_eq!(order, [("0", 0), ("0a", 0), ("0b", 0), ("1", 1), ("1a", 1), ("2", 2), ("2a", 2)]);
    }
}
