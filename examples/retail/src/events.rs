//! What happens in a shop: four kinds of events, the same for the same seed.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::order::{Customer, Item, Order};

/// The first event's time, milliseconds since 1970-01-01T00:00Z: 2024-11-22T18:26:40Z.
pub const START_MS: i64 = 1_732_300_000_000;
/// From one event to the next.
const STEP_MS: i64 = 25;

/// How many of each kind there are, and how many of them are bad; all out of a thousand.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub interactions: u32,
    pub orders: u32,
    pub inventory: u32,
    // The rest are support messages.
    /// Orders of the shop's own tests.
    pub test_orders: u32,
    /// Orders that look like fraud.
    pub fraud: u32,
    /// Orders that no shop could have taken: nothing in them.
    pub invalid_orders: u32,
    /// Support messages that are no JSON.
    pub malformed_support: u32,
}

impl Default for Mix {
    fn default() -> Self {
        let (test_orders, fraud, invalid_orders, malformed_support) = (20, 10, 2, 25);
        Self { interactions: 600, orders: 200, inventory: 150, test_orders, fraud, invalid_orders, malformed_support }
    }
}

/// One event, with the key that its record has.
#[derive(Clone, Debug)]
pub struct Event {
    pub key: String,
    /// Milliseconds since 1970-01-01T00:00Z.
    pub at_ms: i64,
    pub body: Body,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Body {
    /// Somebody looked at something. JSON.
    Interaction(Vec<u8>),
    /// Somebody bought something. Avro, or JSON where the benchmark wants it.
    Order(Order),
    /// A shelf was counted. JSON in an envelope with its schema.
    Inventory(Vec<u8>),
    /// Somebody wrote to the shop. JSON, but for some.
    Support(Vec<u8>),
}

/// Endless events of a seed.
pub struct Events {
    chance: StdRng,
    mix: Mix,
    count: u64,
}

impl Events {
    /// Events of that mix.
    #[must_use]
    pub fn new(seed: u64, mix: Mix) -> Self {
        Self { chance: StdRng::seed_from_u64(seed), mix, count: 0 }
    }

    /// The next order, whatever the mix says of kinds: what benchmarks send.
    pub fn order(&mut self) -> Order {
        let at_ms = self.tick();
        self.new_order(at_ms)
    }

    fn tick(&mut self) -> i64 {
        self.count += 1;
        START_MS + i64::try_from(self.count).unwrap_or(i64::MAX / STEP_MS) * STEP_MS
    }

    fn one_in_thousand(&mut self, times: u32) -> bool {
        self.chance.random_ratio(times, 1000)
    }

    fn of(&mut self, from: &[&str]) -> String {
        (*from.choose(&mut self.chance).expect("a choice of some")).to_owned()
    }

    fn customer_number(&mut self) -> u32 {
        // Some customers come far more often than others.
        let spread: f64 = self.chance.random();
        (spread * spread * 20_000.0) as u32
    }

    fn uuid(&mut self) -> String {
        let n: u128 = self.chance.random();
        let hex = format!("{n:032x}");
        format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
    }

    fn interaction(&mut self) -> (String, Body) {
        let session = format!("s-{:07}", self.chance.random_range(0..400_000));
        let body = json!({
            "event_id": self.uuid(),
            "session": session,
            "customer_id": format!("c-{}", self.customer_number()),
            "action": self.of(&["view", "view", "view", "search", "add_to_cart", "remove_from_cart", "checkout"]),
            "sku": format!("sku-{}", self.chance.random_range(1..5000)),
            "device": self.of(&["ios", "android", "web", "web"]),
            "ip": format!("10.{}.{}.{}", self.chance.random_range(0..255), self.chance.random_range(0..255), self.chance.random_range(1..255)),
            "duration_ms": self.chance.random_range(20..90_000),
            "experiment": self.of(&["control", "new-search", "big-buttons"]),
            "occurred_at": START_MS + self.count as i64 * STEP_MS,
        });
        (session, Body::Interaction(body.to_string().into_bytes()))
    }

    fn new_order(&mut self, at_ms: i64) -> Order {
        let customer = self.customer_number();
        let is_fraud = self.one_in_thousand(self.mix.fraud);
        let count = if is_fraud { 1 } else { *[1, 1, 2, 2, 2, 3, 4].choose(&mut self.chance).expect("a choice of some") };
        let items = (0..count).map(|_| self.item(is_fraud)).collect();
        let country = self.of(&["DE", "DE", "DE", "FR", "FR", "IT", "ES", "NL", "AT", "PL", "SE"]);
        let mut order = Order {
            event_id: self.uuid(),
            order_id: format!("o-{:06}", self.count),
            customer: Customer { id: format!("c-{customer}"), email: format!("customer.{customer}@example.com"), country },
            items,
            currency: "EUR".into(),
            payment: if is_fraud { "prepaid".into() } else { self.of(&["card", "card", "paypal", "invoice"]) },
            test: self.one_in_thousand(self.mix.test_orders),
            ordered_at: at_ms,
        };
        if self.one_in_thousand(self.mix.invalid_orders) {
            order.items.clear();
        }
        order
    }

    /// Fraud buys many of the dearest.
    fn item(&mut self, is_fraud: bool) -> Item {
        let (quantity, cents) = if is_fraud {
            (self.chance.random_range(20..60), self.chance.random_range(90_000..150_000))
        } else {
            (self.chance.random_range(1..5), self.chance.random_range(199..19_999))
        };
        Item { sku: format!("sku-{}", self.chance.random_range(1..5000)), quantity, unit_price: f64::from(cents) / 100.0 }
    }

    /// The newer half of the shelves also says in which zone it stands: tables must grow with it.
    fn inventory(&mut self) -> (String, Body) {
        let sku = format!("sku-{}", self.chance.random_range(1..5000));
        let field = |name: &str, kind: &str, optional: bool| json!({"field": name, "type": kind, "optional": optional});
        let mut fields = vec![
            field("sku", "string", false),
            field("warehouse", "string", false),
            field("on_hand", "int32", false),
            field("reserved", "int32", true),
            json!({"field": "counted_at", "type": "int64", "optional": false,
                   "name": "org.apache.kafka.connect.data.Timestamp", "version": 1}),
        ];
        let mut payload = json!({
            "sku": sku,
            "warehouse": self.of(&["berlin", "lyon", "milano", "gdansk"]),
            "on_hand": self.chance.random_range(0..900),
            "reserved": if self.chance.random_ratio(1, 5) { json!(null) } else { json!(self.chance.random_range(0..40)) },
            "counted_at": START_MS + self.count as i64 * STEP_MS,
        });
        if self.chance.random_ratio(1, 2) {
            fields.push(field("zone", "string", true));
            payload["zone"] = json!(self.of(&["A", "B", "C"]));
        }
        let schema = json!({"type": "struct", "name": "penstock.examples.retail.Inventory", "optional": false, "fields": fields});
        (sku, Body::Inventory(json!({"schema": schema, "payload": payload}).to_string().into_bytes()))
    }

    fn support(&mut self) -> (String, Body) {
        let customer = format!("c-{}", self.customer_number());
        let text = json!({
            "message_id": self.uuid(),
            "customer_id": customer,
            "channel": self.of(&["mail", "chat", "phone"]),
            "subject": self.of(&["Where is my order?", "Wrong size", "Invoice please", "It is broken", "Thank you!"]),
            "text": self.of(&["Ordered a week ago: \u{201e}still nothing\u{201c} \u{1F69A}", "It says 42, but feels like 40.", "Line one\nLine two"]),
            "priority": self.chance.random_range(1..4),
        })
        .to_string();
        let bytes = if self.one_in_thousand(self.mix.malformed_support) { self.spoil(&text) } else { text.into_bytes() };
        (customer, Body::Support(bytes))
    }

    /// No JSON any more: cut off, not JSON at all, quoted wrongly, or not even text.
    fn spoil(&mut self, text: &str) -> Vec<u8> {
        match self.chance.random_range(0..4) {
            0 => text.as_bytes()[..text.len() / 2].to_vec(),
            1 => b"<message>call me back</message>".to_vec(),
            2 => text.replace('"', "'").into_bytes(),
            _ => [&text.as_bytes()[..20], b"\xff\xfe"].concat(),
        }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let at_ms = self.tick();
        let draw = self.chance.random_range(0..1000);
        let Mix { interactions, orders, inventory, .. } = self.mix;
        let (key, body) = if draw < interactions {
            self.interaction()
        } else if draw < interactions + orders {
            let order = self.new_order(at_ms);
            (order.customer.id.clone(), Body::Order(order))
        } else if draw < interactions + orders + inventory {
            self.inventory()
        } else {
            self.support()
        };
        Some(Event { key, at_ms, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::OrderAvro;

    fn text(event: &Event) -> Vec<u8> {
        match &event.body {
            Body::Interaction(bytes) | Body::Inventory(bytes) | Body::Support(bytes) => bytes.clone(),
            Body::Order(order) => order.to_json(),
        }
    }

    #[test]
    fn a_seed_gives_the_same_events() {
        let run = |seed| Events::new(seed, Mix::default()).take(500).map(|e| (e.key.clone(), text(&e))).collect::<Vec<_>>();
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn the_mix_is_kept() {
        let events: Vec<Event> = Events::new(1, Mix::default()).take(20_000).collect();
        let share = |is: fn(&Event) -> bool| events.iter().filter(|e| is(e)).count() * 1000 / events.len();
        assert!((580..620).contains(&share(|e| matches!(e.body, Body::Interaction(_)))));
        assert!((180..220).contains(&share(|e| matches!(e.body, Body::Order(_)))));
        let malformed =
            |e: &&Event| matches!(&e.body, Body::Support(b) if serde_json::from_slice::<serde_json::Value>(b).is_err());
        let malformed = events.iter().filter(malformed).count();
        assert!((10..50).contains(&malformed), "{malformed}");
    }

    #[test]
    fn orders_have_the_size_that_benchmarks_expect() {
        let mut events = Events::new(1, Mix::default());
        let bytes: usize = (0..10_000).map(|_| events.order().to_json().len()).sum();
        let mean = bytes / 10_000;
        assert!((300..345).contains(&mean), "{mean} bytes on average");
    }

    #[test]
    fn orders_survive_avro() {
        let avro = OrderAvro::new(7).unwrap();
        let order = Events::new(3, Mix::default()).order();
        let bytes = avro.write(&order).unwrap();
        assert_eq!(bytes[..5], [0, 0, 0, 0, 7]);
        assert_eq!(avro.read(&bytes).unwrap(), order);
    }
}
