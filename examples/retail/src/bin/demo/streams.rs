//! The four streams of the shop - which topic, which connector, which table - and the two roads by HTTP.

/// One kind of event on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) topic: &'static str,
    pub(crate) connector: &'static str,
    /// The connector's configuration, in `examples/retail/connectors`.
    pub(crate) file: &'static str,
    pub(crate) table: &'static str,
}

pub(crate) const INTERACTIONS: Stream =
    Stream { topic: "retail.interactions", connector: "retail-interactions", file: "interactions.json", table: "INTERACTIONS" };
pub(crate) const ORDERS: Stream =
    Stream { topic: "retail.orders", connector: "retail-orders", file: "orders.json", table: "ORDERS" };
pub(crate) const INVENTORY: Stream =
    Stream { topic: "retail.inventory", connector: "retail-inventory", file: "inventory.json", table: "INVENTORY" };
pub(crate) const SUPPORT: Stream =
    Stream { topic: "retail.support", connector: "retail-support", file: "support.json", table: "SUPPORT_MESSAGES" };

pub(crate) const ALL: [Stream; 4] = [INTERACTIONS, ORDERS, INVENTORY, SUPPORT];

/// Where records go that cannot pass.
pub(crate) const DEAD_LETTERS: &str = "retail.dead-letters";

/// Tickets that are polled from the helpdesk by HTTP.
pub(crate) const TICKETS: &str = "retail.tickets";
pub(crate) const TICKETS_CONNECTOR: &str = "retail-tickets";
/// Flagged orders on their way to the function.
pub(crate) const ALERTS_CONNECTOR: &str = "retail-alerts";

/// All connectors, with their files.
pub(crate) fn connectors() -> impl Iterator<Item = (&'static str, &'static str)> {
    let by_http = [(TICKETS_CONNECTOR, "tickets.json"), (ALERTS_CONNECTOR, "alerts.json")];
    ALL.map(|stream| (stream.connector, stream.file)).into_iter().chain(by_http)
}
