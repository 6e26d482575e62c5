//! Where a connector ends transactions itself (`transaction.boundary=connector`): a poll is cut into parts, each of one transaction.

use penstock_api::{Error, Result, SourceRecord, TransactionBoundary, TransactionEnd};
use std::collections::{BTreeMap, VecDeque};

/// Records of a poll that are sent together.
#[derive(Debug)]
pub(super) struct Part {
    /// May be none: then only the transaction ends.
    pub(super) records: Vec<SourceRecord>,
    /// How the transaction ends behind them; `None`: it goes on with the next ones.
    pub(super) end: Option<TransactionEnd>,
}

/// Cuts what a poll gave where its connector wants transactions to end.
///
/// # Errors
/// `Fatal` when it contradicts itself. Unlike in the connector's own code nobody can swallow that here, and going on could lose records.
pub(super) fn cut(mut records: Vec<SourceRecord>, boundaries: &[TransactionBoundary]) -> Result<VecDeque<Part>> {
    let count = records.len();
    let mut ends: BTreeMap<usize, TransactionEnd> = BTreeMap::new();
    for TransactionBoundary { end, behind } in boundaries {
        let behind = behind.unwrap_or(count);
        if behind > count {
            return Err(Error::fatal(format!(
                "the connector ends a transaction behind record {behind} of a poll that gave {count}, which is a mistake in it"
            )));
        }
        if ends.insert(behind, *end).is_some_and(|other| other != *end) {
            return Err(Error::fatal(format!(
                "the connector requested both commit and abort of the transaction behind record {behind} of a poll, which is a mistake in it"
            )));
        }
    }
    let mut parts = VecDeque::new();
    let mut taken = 0;
    for (behind, end) in ends {
        let rest = records.split_off(behind - taken);
        parts.push_back(Part { records: std::mem::replace(&mut records, rest), end: Some(end) });
        taken = behind;
    }
    if !records.is_empty() {
        parts.push_back(Part { records, end: None });
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TransactionEnd::{Abort, Commit};
    use penstock_api::{Headers, Payload, Record};
    use proptest::prelude::*;

    fn records(count: usize) -> Vec<SourceRecord> {
        let record = |n| Record {
            topic: "t".into(),
            partition: None,
            key: Payload::null(),
            value: Payload::null(),
            headers: Headers::new(),
            timestamp: Some(n),
            offset: None,
        };
        (0..count as i64).map(|n| SourceRecord { record: record(n), position: None }).collect()
    }

    fn shown(count: usize, boundaries: &[(TransactionEnd, Option<usize>)]) -> Result<Vec<(usize, Option<TransactionEnd>)>> {
        let boundaries: Vec<_> = boundaries.iter().map(|&(end, behind)| TransactionBoundary { end, behind }).collect();
        Ok(cut(records(count), &boundaries)?.into_iter().map(|part| (part.records.len(), part.end)).collect())
    }

    #[test]
    fn a_poll_is_cut_where_transactions_end() {
        assert_eq!(shown(3, &[]).unwrap(), [(3, None)]);
        assert_eq!(shown(0, &[]).unwrap(), []);
        assert_eq!(shown(3, &[(Commit, None)]).unwrap(), [(3, Some(Commit))]);
        assert_eq!(shown(0, &[(Abort, None)]).unwrap(), [(0, Some(Abort))]);
        // In whatever order they were asked for.
        let asked = [(Abort, Some(4)), (Commit, Some(0)), (Commit, Some(1))];
        assert_eq!(shown(5, &asked).unwrap(), [(0, Some(Commit)), (1, Some(Commit)), (3, Some(Abort)), (1, None)]);
        // Behind the last one and behind all is the same place.
        assert_eq!(shown(2, &[(Commit, Some(2)), (Commit, None)]).unwrap(), [(2, Some(Commit))]);
    }

    #[test]
    fn a_connector_that_contradicts_itself_fails_its_task() {
        let error = |count, boundaries: &[_]| shown(count, boundaries).unwrap_err().to_string();
        assert!(error(2, &[(Commit, None), (Abort, Some(2))]).contains("both commit and abort"));
        assert!(error(2, &[(Commit, Some(3))]).contains("behind record 3 of a poll that gave 2"));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_order_stays(count in 0usize..20, places in prop::collection::vec(0usize..20, 0..10)) {
            let boundaries: Vec<_> =
                places.iter().map(|place| TransactionBoundary { end: Commit, behind: Some(*place.min(&count)) }).collect();
            let parts = cut(records(count), &boundaries).unwrap();
            let all: Vec<_> = parts.iter().flat_map(|part| part.records.iter().map(|r| r.record.timestamp)).collect();
            prop_assert_eq!(all, (0..count as i64).map(Some).collect::<Vec<_>>());
            prop_assert!(parts.iter().all(|part| part.end.is_some() || !part.records.is_empty()));
        }
    }
}
