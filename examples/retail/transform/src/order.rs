//! The rules of the shop, free of batches and columns.

use serde::Deserialize;

/// A line of an order. Whatever else it holds does not matter here.
#[derive(Debug, Deserialize, PartialEq)]
pub(crate) struct Item {
    #[serde(default)]
    pub quantity: Option<f64>,
    #[serde(default)]
    pub unit_price: Option<f64>,
}

impl Item {
    pub(crate) fn parse_all(json: Option<&[u8]>) -> Result<Vec<Item>, String> {
        let json = json.ok_or("items are missing")?;
        serde_json::from_slice(json).map_err(|_| "items are no list of objects with numbers".to_owned())
    }
}

/// What an order must satisfy.
pub(crate) struct Rules {
    pub currencies: Vec<String>,
}

impl Rules {
    pub(crate) fn check_head(
        &self,
        order_id: Option<&str>,
        customer_id: Option<&str>,
        currency: Option<&str>,
        ordered_at: Option<i64>,
    ) -> Result<(), String> {
        required("order_id", order_id)?;
        required("customer.id", customer_id)?;
        let currency = required("currency", currency)?;
        if !self.currencies.iter().any(|known| known == currency) {
            let shown: String = currency.chars().take(16).collect();
            return Err(format!("currency {shown:?} is unknown: known are {}", self.currencies.join(", ")));
        }
        match ordered_at {
            Some(at) if at > 0 => Ok(()),
            _ => Err("ordered_at is missing or no point in time".to_owned()),
        }
    }

    pub(crate) fn check_items(&self, items: Vec<Item>) -> Result<Vec<Item>, String> {
        if items.is_empty() {
            return Err("it has no items".to_owned());
        }
        for (at, item) in items.iter().enumerate() {
            let number = at + 1;
            match item.quantity {
                Some(quantity) if quantity > 0.0 => {}
                Some(quantity) => return Err(format!("the quantity of item {number} is {quantity}: it must be positive")),
                None => return Err(format!("the quantity of item {number} is missing")),
            }
            match item.unit_price {
                Some(price) if price >= 0.0 => {}
                Some(price) => return Err(format!("the price of item {number} is {price}: it must not be negative")),
                None => return Err(format!("the price of item {number} is missing")),
            }
        }
        Ok(items)
    }
}

fn required<'t>(field: &str, value: Option<&'t str>) -> Result<&'t str, String> {
    value.filter(|text| !text.is_empty()).ok_or_else(|| format!("{field} is missing or empty"))
}

/// What the order costs, to the cent.
pub(crate) fn total(items: &[Item]) -> f64 {
    let sum: f64 = items.iter().map(|item| item.quantity.unwrap_or(0.0) * item.unit_price.unwrap_or(0.0)).sum();
    (sum * 100.0).round() / 100.0
}

/// When an order looks like fraud.
pub(crate) struct Fraud {
    pub total_threshold: f64,
    pub quantity_threshold: f64,
}

impl Fraud {
    pub(crate) fn reason(&self, total: f64, items: &[Item]) -> Option<String> {
        if total > self.total_threshold {
            return Some(format!("total above {}", self.total_threshold));
        }
        let most = items.iter().filter_map(|item| item.quantity).fold(0.0, f64::max);
        (most > self.quantity_threshold).then(|| format!("more than {} of one item", self.quantity_threshold))
    }
}

/// An address that still shows its domain, for statistics: `anna@example.org` becomes `a***@example.org`.
pub(crate) fn masked(email: &str) -> String {
    match email.rsplit_once('@') {
        Some((name, domain)) if !name.is_empty() => {
            let first = name.chars().next().unwrap_or('*');
            format!("{first}***@{domain}")
        }
        _ => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules { currencies: vec!["EUR".into(), "USD".into()] }
    }

    fn items(json: &str) -> Result<Vec<Item>, String> {
        Item::parse_all(Some(json.as_bytes())).and_then(|items| rules().check_items(items))
    }

    #[test]
    fn rules_name_what_is_wrong() {
        let check = |id, customer, currency, at| rules().check_head(id, customer, currency, at).err().unwrap_or_default();
        assert_eq!(check(Some("o-1"), Some("c-1"), Some("EUR"), Some(1)), "");
        assert_eq!(check(None, Some("c-1"), Some("EUR"), Some(1)), "order_id is missing or empty");
        assert_eq!(check(Some("o-1"), Some(""), Some("EUR"), Some(1)), "customer.id is missing or empty");
        assert_eq!(check(Some("o-1"), Some("c"), Some("XXX"), Some(1)), "currency \"XXX\" is unknown: known are EUR, USD");
        assert_eq!(check(Some("o-1"), Some("c"), Some("EUR"), None), "ordered_at is missing or no point in time");
        assert_eq!(items("[]").unwrap_err(), "it has no items");
        assert_eq!(items(r#"[{"quantity":0,"unit_price":1}]"#).unwrap_err(), "the quantity of item 1 is 0: it must be positive");
        assert_eq!(
            items(r#"[{"quantity":1,"unit_price":-1}]"#).unwrap_err(),
            "the price of item 1 is -1: it must not be negative"
        );
        assert_eq!(items(r#"[{"unit_price":1}]"#).unwrap_err(), "the quantity of item 1 is missing");
        assert_eq!(items(r#"{"quantity":1}"#).unwrap_err(), "items are no list of objects with numbers");
    }

    #[test]
    fn totals_are_to_the_cent() {
        let items = items(r#"[{"quantity":3,"unit_price":19.99,"sku":"a"},{"quantity":1,"unit_price":0.1}]"#).unwrap();
        assert!((total(&items) - 60.07).abs() < 1e-9);
        let fraud = Fraud { total_threshold: 60.0, quantity_threshold: 100.0 };
        assert_eq!(fraud.reason(total(&items), &items).as_deref(), Some("total above 60"));
        let fraud = Fraud { total_threshold: 100.0, quantity_threshold: 2.0 };
        assert_eq!(fraud.reason(total(&items), &items).as_deref(), Some("more than 2 of one item"));
        let fraud = Fraud { total_threshold: 100.0, quantity_threshold: 3.0 };
        assert_eq!(fraud.reason(total(&items), &items), None);
    }

    #[test]
    fn masks_keep_the_domain() {
        assert_eq!(masked("anna@example.org"), "a***@example.org");
        assert_eq!(masked("no address"), "***");
        assert_eq!(masked("@x"), "***");
    }
}
