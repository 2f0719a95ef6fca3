//! `[format]` and `[registry]`: which topic is Avro, and where its schemas are.

use super::Formats;
use super::check::{Check, absolute, text};
use super::value::Value;
use crate::format::{
    Format,
    registry::{RegistrySettings, Secret, SubjectStrategy},
};
use std::{path::PathBuf, time::Duration};
use url::Url;

impl Check<'_> {
    pub(super) fn format(&mut self) -> Option<Formats> {
        let mut of = |topic: &str| self.choice(&format!("format.{topic}"), &Format::ALL);
        let (orders, order_status, purchase_stats) = (of("orders"), of("order_status"), of("purchase_stats"));
        let (late_orders, inventory_levels) = (of("late_orders"), of("inventory_levels"));
        let (low_stock_alerts, order_batches) = (of("low_stock_alerts"), of("order_batches"));
        let schemas = self.read("format.schemas", or_nothing(absolute));
        let reader_schema = self.read("format.reader_schema", or_nothing(file));
        Some(Formats {
            orders: orders?,
            order_status: order_status?,
            purchase_stats: purchase_stats?,
            late_orders: late_orders?,
            inventory_levels: inventory_levels?,
            low_stock_alerts: low_stock_alerts?,
            order_batches: order_batches?,
            schemas: schemas?,
            reader_schema: reader_schema?,
        })
    }

    pub(super) fn registry(&mut self, formats: Option<&Formats>) -> Option<Option<RegistrySettings>> {
        let url = self.read("registry.url", or_nothing(registry_url));
        let strategies = [
            ("topic-name", SubjectStrategy::TopicName),
            ("record-name", SubjectStrategy::RecordName),
            ("topic-record-name", SubjectStrategy::TopicRecordName),
        ];
        let strategy = self.choice("registry.subject_strategy", &strategies);
        let register = self.choice("registry.auto_register", &[("true", true), ("false", false)]);
        let username = self.read("registry.username", text);
        let password = self.secret("registry.password");
        let ca_certificate = self.read("registry.ca_certificate", or_nothing(file));
        let client_certificate = self.read("registry.client_certificate", or_nothing(file));
        let timeout = self.duration("registry.timeout", Duration::from_millis(100)..=Duration::from_secs(300));
        if let (Some(username), Some(password)) = (&username, &password)
            && username.is_empty()
            && !password.0.is_empty()
        {
            self.problem("registry.password", "is set without registry.username".to_owned());
        }
        if let (Some(None), Some(formats)) = (&url, formats)
            && let Some(topic) = formats.first_with_registry()
        {
            let message =
                "\"avro\": the schemas are in a registry, so registry.url has to be set; or take \"avro-single-object\""
                    .to_owned();
            self.problem(&format!("format.{topic}"), message);
        }
        let basic = username.zip(password).map(|(name, password)| (!name.is_empty()).then_some((name, password)));
        let (strategy, register, basic, timeout) = (strategy?, register?, basic?, timeout?);
        let (ca_certificate, client_certificate) = (ca_certificate?, client_certificate?);
        Some(url?.map(|url| RegistrySettings { url, basic, ca_certificate, client_certificate, strategy, register, timeout }))
    }

    /// A text that no message shows.
    fn secret(&mut self, key: &str) -> Option<Secret> {
        let value = self.raw.entries.get(key).map_or_else(|| Some(String::new()), |entry| entry.value.scalar());
        if value.is_none() {
            self.problem(key, "allowed is a text".to_owned());
        }
        value.map(Secret)
    }
}

/// What `parse` makes of a text; none of an empty one.
fn or_nothing<T>(parse: impl Fn(&str) -> Result<T, String>) -> impl Fn(&Value) -> Result<Option<T>, String> {
    move |value| match text(value)?.as_str() {
        "" => Ok(None),
        written => parse(written).map(Some),
    }
}

fn file(path: &str) -> Result<PathBuf, String> {
    let path = absolute(path)?;
    if path.is_file() { Ok(path) } else { Err("allowed is the path of a file, and there is none".to_owned()) }
}

fn registry_url(written: &str) -> Result<Url, String> {
    let allowed = || "allowed is an address like \"http://localhost:8081\", without user, password, ? and #".to_owned();
    let url = Url::parse(written).map_err(|_| allowed())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && plain { Ok(url) } else { Err(allowed()) }
}
