//! What happens in a shop: four kinds of events, each with its schema.

use penstock_api::schema::{INT32, STRING};
use penstock_api::{Schema, SchemaRef, Struct, Value};
use std::sync::{Arc, LazyLock};

use crate::chance::Chance;

/// The first event's time, milliseconds since 1970-01-01T00:00Z: 2024-11-22T18:26:40Z.
const START_MS: i64 = 1_732_300_000_000;
/// From one event of a kind to the next.
const STEP_MS: i64 = 25;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Somebody looked at something.
    Interactions,
    /// Somebody bought something.
    Orders,
    /// A shelf was counted.
    Inventory,
    /// Somebody wrote to the shop.
    Support,
}

/// One event.
pub(crate) struct Event {
    pub(crate) key: String,
    /// Milliseconds since 1970-01-01T00:00Z.
    pub(crate) at_ms: i64,
    pub(crate) value: Struct,
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] = [Kind::Interactions, Kind::Orders, Kind::Inventory, Kind::Support];
    pub(crate) const NAMES: [&str; 4] = ["interactions", "orders", "inventory", "support"];

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The event of that number, counted from 0.
    pub(crate) fn event(self, chance: &mut Chance, number: u64, skew: f64) -> Event {
        let at_ms = START_MS.wrapping_add((number as i64).wrapping_mul(STEP_MS));
        let (key, value) = match self {
            Kind::Interactions => interaction(chance, at_ms, skew),
            Kind::Orders => order(chance, number, at_ms, skew),
            Kind::Inventory => inventory(chance, at_ms, skew),
            Kind::Support => support(chance, skew),
        };
        Event { key, at_ms, value }
    }
}

/// One of so many, the lower ones more often.
fn skewed(chance: &mut Chance, skew: f64, count: f64) -> u32 {
    (chance.share().powf(skew) * count) as u32
}

fn customer(chance: &mut Chance, skew: f64) -> String {
    format!("c-{}", skewed(chance, skew, 20_000.0))
}

fn sku(chance: &mut Chance, skew: f64) -> String {
    format!("sku-{}", skewed(chance, skew, 5_000.0))
}

fn text(text: impl AsRef<str>) -> Value {
    Value::string(text.as_ref())
}

fn number(n: u32) -> Value {
    Value::Int32(n.cast_signed())
}

fn interaction(chance: &mut Chance, at_ms: i64, skew: f64) -> (String, Struct) {
    let session = format!("s-{:07}", skewed(chance, skew, 400_000.0));
    let values = vec![
        text(chance.uuid()),
        text(&session),
        text(customer(chance, skew)),
        text(chance.of(&["view", "view", "view", "search", "add_to_cart", "remove_from_cart", "checkout"])),
        text(sku(chance, skew)),
        text(chance.of(&["ios", "android", "web", "web"])),
        text(format!("10.{}.{}.{}", chance.below(255), chance.below(255), chance.within(1, 255))),
        number(chance.within(20, 90_000)),
        text(chance.of(&["control", "new-search", "big-buttons"])),
        Value::Timestamp(at_ms),
    ];
    (session, Struct::from_values(INTERACTION.clone(), values))
}

fn order(chance: &mut Chance, count: u64, at_ms: i64, skew: f64) -> (String, Struct) {
    let customer = customer(chance, skew);
    let email = format!("customer.{}@example.com", customer.trim_start_matches("c-"));
    let is_fraud = chance.below(100) == 0;
    let items = if is_fraud { 1 } else { [1, 1, 2, 2, 2, 3, 4][chance.below(7) as usize] };
    let items = (0..items).map(|_| item(chance, is_fraud, skew)).collect();
    let country = chance.of(&["DE", "DE", "DE", "FR", "FR", "IT", "ES", "NL", "AT", "PL", "SE"]);
    let payment = if is_fraud { "prepaid" } else { chance.of(&["card", "card", "paypal", "invoice"]) };
    let values = vec![
        text(chance.uuid()),
        text(format!("o-{count:06}")),
        Value::Struct(Struct::from_values(CUSTOMER.clone(), vec![text(&customer), text(email), text(country)])),
        Value::Array(items),
        text("EUR"),
        text(payment),
        Value::Boolean(chance.below(50) == 0),
        Value::Timestamp(at_ms),
    ];
    (customer, Struct::from_values(ORDER.clone(), values))
}

/// Fraud buys many of the dearest.
fn item(chance: &mut Chance, is_fraud: bool, skew: f64) -> Value {
    let (quantity, cents) = match is_fraud {
        true => (chance.within(20, 60), chance.within(90_000, 150_000)),
        false => (chance.within(1, 5), chance.within(199, 19_999)),
    };
    let values = vec![text(sku(chance, skew)), number(quantity), Value::Float64(f64::from(cents) / 100.0)];
    Value::Struct(Struct::from_values(ITEM.clone(), values))
}

/// Half of the shelves also say in which zone they stand: tables must grow with it.
fn inventory(chance: &mut Chance, at_ms: i64, skew: f64) -> (String, Struct) {
    let sku = sku(chance, skew);
    let mut values = vec![
        text(&sku),
        text(chance.of(&["berlin", "lyon", "milano", "gdansk"])),
        number(chance.below(900)),
        if chance.below(5) == 0 { Value::Null } else { number(chance.below(40)) },
        Value::Timestamp(at_ms),
    ];
    if chance.below(2) == 0 {
        return (sku, Struct::from_values(INVENTORY.clone(), values));
    }
    values.push(text(chance.of(&["A", "B", "C"])));
    (sku, Struct::from_values(INVENTORY_WITH_ZONE.clone(), values))
}

fn support(chance: &mut Chance, skew: f64) -> (String, Struct) {
    let customer = customer(chance, skew);
    let texts =
        ["Ordered a week ago: \u{201e}still nothing\u{201c} \u{1F69A}", "It says 42, but feels like 40.", "Line one\nLine two"];
    let values = vec![
        text(chance.uuid()),
        text(&customer),
        text(chance.of(&["mail", "chat", "phone"])),
        text(chance.of(&["Where is my order?", "Wrong size", "Invoice please", "It is broken", "Thank you!"])),
        text(chance.of(&texts)),
        number(chance.within(1, 4)),
    ];
    (customer, Struct::from_values(SUPPORT.clone(), values))
}

/// No JSON any more: cut off, not JSON at all, or quoted wrongly.
pub(crate) fn spoiled(chance: &mut Chance, json: &str) -> String {
    match chance.below(3) {
        // All of it is ASCII up to there: identifiers come first.
        0 => json[..json.len().min(30)].to_owned(),
        1 => "<message>call me back</message>".to_owned(),
        _ => json.replace('"', "'"),
    }
}

/// The schema of a struct with these fields.
fn schema<const N: usize>(name: &str, fields: [(&str, SchemaRef); N]) -> SchemaRef {
    Arc::new(Schema::record(fields).named(format!("penstock.retail.{name}")))
}

fn a(schema: Schema) -> SchemaRef {
    Arc::new(schema)
}

static INTERACTION: LazyLock<SchemaRef> = LazyLock::new(|| {
    let texts = ["event_id", "session", "customer_id", "action", "sku", "device", "ip"].map(|name| (name, STRING.clone()));
    let [id, session, customer, action, sku, device, ip] = texts;
    let rest = [("duration_ms", INT32.clone()), ("experiment", STRING.clone()), ("occurred_at", a(Schema::timestamp()))];
    let [duration, experiment, occurred] = rest;
    schema("Interaction", [id, session, customer, action, sku, device, ip, duration, experiment, occurred])
});

static CUSTOMER: LazyLock<SchemaRef> =
    LazyLock::new(|| schema("Customer", ["id", "email", "country"].map(|name| (name, STRING.clone()))));

static ITEM: LazyLock<SchemaRef> = LazyLock::new(|| {
    let price = a(Schema::new(penstock_api::Kind::Float64));
    schema("Item", [("sku", STRING.clone()), ("quantity", INT32.clone()), ("unit_price", price)])
});

static ORDER: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(
        "Order",
        [
            ("event_id", STRING.clone()),
            ("order_id", STRING.clone()),
            ("customer", CUSTOMER.clone()),
            ("items", a(Schema::array(ITEM.clone()))),
            ("currency", STRING.clone()),
            ("payment", STRING.clone()),
            ("test", a(Schema::new(penstock_api::Kind::Boolean))),
            ("ordered_at", a(Schema::timestamp())),
        ],
    )
});

static INVENTORY: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(Schema::record(shelf()).named(SHELF)));

static INVENTORY_WITH_ZONE: LazyLock<SchemaRef> = LazyLock::new(|| {
    let zone = ("zone", a(Schema::new(penstock_api::Kind::String).optional()));
    Arc::new(Schema::record(shelf().into_iter().chain([zone])).named(SHELF))
});

const SHELF: &str = "penstock.retail.Inventory";

fn shelf() -> [(&'static str, SchemaRef); 5] {
    [
        ("sku", STRING.clone()),
        ("warehouse", STRING.clone()),
        ("on_hand", INT32.clone()),
        ("reserved", a(Schema::new(penstock_api::Kind::Int32).optional())),
        ("counted_at", a(Schema::timestamp())),
    ]
}

static SUPPORT: LazyLock<SchemaRef> = LazyLock::new(|| {
    let texts = ["message_id", "customer_id", "channel", "subject", "text"].map(|name| (name, STRING.clone()));
    let [id, customer, channel, subject, text] = texts;
    schema("SupportMessage", [id, customer, channel, subject, text, ("priority", INT32.clone())])
});

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::json;

    fn json_of(kind: Kind, seed: u64, number: u64) -> String {
        let event = kind.event(&mut Chance::new(seed, kind as u64, number), number, 2.0);
        let mut out = Vec::new();
        json::write(&Value::Struct(event.value), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_seed_and_a_number_settle_an_event() {
        for kind in Kind::ALL {
            assert_eq!(json_of(kind, 7, 41), json_of(kind, 7, 41));
            assert_ne!(json_of(kind, 7, 41), json_of(kind, 7, 42));
            assert_ne!(json_of(kind, 7, 41), json_of(kind, 8, 41));
        }
    }

    /// Whoever goes on from a stored offset gets the same events after an upgrade.
    #[test]
    fn events_do_not_change_from_version_to_version() {
        assert_eq!(json_of(Kind::Inventory, 1, 2), INVENTORY_2);
        assert_eq!(json_of(Kind::Orders, 1, 2), ORDER_2);
    }

    const INVENTORY_2: &str =
        r#"{"sku":"sku-0","warehouse":"gdansk","on_hand":638,"reserved":20,"counted_at":1732300000050,"zone":"C"}"#;
    const ORDER_2: &str = concat!(
        r#"{"event_id":"70a92596-8442-4b62-af3c-dc3530e829b4","order_id":"o-000002","customer":{"id":"c-13485","#,
        r#""email":"customer.13485@example.com","country":"SE"},"items":[{"sku":"sku-4537","quantity":4,"unit_price":9.82},"#,
        r#"{"sku":"sku-11","quantity":4,"unit_price":71.19}],"currency":"EUR","payment":"card","test":false,"#,
        r#""ordered_at":1732300000050}"#
    );

    #[test]
    fn values_fit_their_schemas() {
        fn fits(value: &Value, schema: &Schema) {
            assert!(value.fits(schema), "{value:?} under {schema:?}");
            match value {
                Value::Struct(record) => record.values().iter().zip(&schema.fields).for_each(|(v, f)| fits(v, &f.schema)),
                Value::Array(items) => items.iter().for_each(|item| fits(item, schema.value.as_ref().unwrap())),
                _ => {}
            }
        }
        for kind in Kind::ALL {
            for number in 0..200 {
                let event = kind.event(&mut Chance::new(1, 0, number), number, 1.0);
                let schema = event.value.schema().clone();
                fits(&Value::Struct(event.value), &schema);
            }
        }
    }

    #[test]
    fn skew_favours_some_customers() {
        let share = |skew: f64| {
            let mut chance = Chance::new(1, 2, 3);
            (0..10_000).filter(|_| skewed(&mut chance, skew, 20_000.0) < 2_000).count()
        };
        assert!((900..1100).contains(&share(1.0)), "{}", share(1.0));
        assert!((3000..3350).contains(&share(2.0)), "{}", share(2.0));
        assert!((6100..6500).contains(&share(5.0)), "{}", share(5.0));
    }

    #[test]
    fn what_is_spoiled_is_no_json() {
        for kind in Kind::ALL {
            for number in 0..50 {
                let text = spoiled(&mut Chance::new(2, 0, number), &json_of(kind, 1, number));
                assert!(json::parse(text.as_bytes()).is_err(), "{text}");
            }
        }
    }
}
