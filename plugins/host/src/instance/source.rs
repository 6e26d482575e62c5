//! The calls of sources' tasks.

use penstock_api::{Polled, Props, SourceContext, TransactionEnd};
use wasmtime::component::Resource;

use super::connector::{Answer, call, pairs};
use super::{Exports, Instance, Stopped};
use crate::contract;
use crate::contract::sources::exports::penstock::connect::source::{Attention, Guarantees};
use crate::outbox::{OutboxHandle, next};

/// What a poll gave, and where transactions end: behind so many of its records.
pub(crate) struct Given {
    pub(crate) polled: Polled,
    pub(crate) boundaries: Vec<(usize, TransactionEnd)>,
}

impl Instance {
    /// What the connector promises, asked in a throw-away instance.
    pub(crate) async fn source_guarantees(&mut self, class: &str, props: &Props) -> Result<Guarantees, Stopped> {
        let pairs = pairs(props);
        call!(self, exports in Exports::Sources(_, exports), penstock_connect_source.call_guarantee(class, &pairs))
    }

    /// Answers whether the guest wants to hear of acknowledged records.
    pub(crate) async fn source_start(&mut self, context: SourceContext) -> Answer<bool> {
        self.store.data_mut().outbox.context = Some(context);
        let answer = call!(self, exports in Exports::Sources(_, exports), penstock_connect_source.call_start())?;
        Ok(answer.map(|attention| attention.contains(Attention::ACKNOWLEDGEMENTS)).map_err(contract::error))
    }

    pub(crate) async fn source_poll(&mut self) -> Answer<Given> {
        self.store.data_mut().outbox.clear();
        let handle = Resource::<OutboxHandle>::new_borrow(0);
        let answer = call!(self, exports in Exports::Sources(_, exports), penstock_connect_source.call_poll(handle))?;
        let outbox = &mut self.store.data_mut().outbox;
        let (records, boundaries) = (std::mem::take(&mut outbox.records), std::mem::take(&mut outbox.boundaries));
        let given = |after| Given { polled: Polled { records, next: next(after) }, boundaries };
        Ok(answer.map(given).map_err(contract::error))
    }

    pub(crate) async fn source_acknowledged(&mut self, offsets: &[(String, String)]) -> Answer<()> {
        Ok(call!(self, exports in Exports::Sources(_, exports), penstock_connect_source.call_acknowledged(offsets))?
            .map_err(contract::error))
    }
}
