//! The calls of sources' tasks.

use penstock_api::{Polled, SourceContext};
use wasmtime::component::Resource;

use super::connector::{Answer, call};
use super::{Exports, Instance};
use crate::contract;
use crate::contract::sources::exports::penstock::connect::source::Attention;
use crate::outbox::{OutboxHandle, next};

impl Instance {
    /// Answers whether the guest wants to hear of acknowledged records.
    pub(crate) async fn source_start(&mut self, context: SourceContext) -> Answer<bool> {
        self.store.data_mut().outbox.context = Some(context);
        let answer = call!(self, exports in Exports::Sources(_, exports), penstock_connect_source.call_start())?;
        Ok(answer.map(|attention| attention.contains(Attention::ACKNOWLEDGEMENTS)).map_err(contract::error))
    }

    pub(crate) async fn source_poll(&mut self) -> Answer<Polled> {
        self.store.data_mut().outbox.clear();
        let handle = Resource::<OutboxHandle>::new_borrow(0);
        let answer = call!(self, exports in Exports::Sources(_, exports), penstock_connect_source.call_poll(handle))?;
        let records = std::mem::take(&mut self.store.data_mut().outbox.records);
        Ok(answer.map(|after| Polled { records, next: next(after) }).map_err(contract::error))
    }

    pub(crate) async fn source_acknowledged(&mut self, offsets: &[(String, String)]) -> Answer<()> {
        Ok(call!(self, exports in Exports::Sources(_, exports), penstock_connect_source.call_acknowledged(offsets))?
            .map_err(contract::error))
    }
}
