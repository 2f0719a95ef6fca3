//! An order of the load: what it holds, which steps it takes.

use super::LoadSettings;
use super::draw::Draw;
use crate::format::EventType::{self, Cancelled, Created, Delivered, PaymentCompleted, Shipped};

const CATEGORIES: [&str; 8] = ["books", "electronics", "garden", "toys", "clothing", "sports", "music", "groceries"];

/// Steps of an order: 92 % are paid, 85 % shipped, 80 % delivered, 8 % cancelled, half of those before and half after payment.
pub(super) fn steps(draw: &mut Draw) -> &'static [EventType] {
    match draw.below(100) {
        0..4 => &[Created, Cancelled],
        4..8 => &[Created],
        8..12 => &[Created, PaymentCompleted, Cancelled],
        12..15 => &[Created, PaymentCompleted],
        15..20 => &[Created, PaymentCompleted, Shipped],
        _ => &[Created, PaymentCompleted, Shipped, Delivered],
    }
}

/// The texts that all events of one order share, rendered once.
#[derive(Debug, Default)]
pub(super) struct Order {
    id: Vec<u8>,
    /// `{"orderId":...,"eventType":"`
    head: Vec<u8>,
    /// `","amount":...,"timestamp":`
    tail: Vec<u8>,
    /// Steps that are planned and not sent.
    pub(super) planned: u32,
}

impl Order {
    pub(super) fn begin(&mut self, number: u64, settings: &LoadSettings, draw: &mut Draw) {
        let user = draw.skewed_below(settings.users) + 1;
        let category = CATEGORIES.get(draw.below(CATEGORIES.len() as u32) as usize).copied().unwrap_or_default();
        self.id.clear();
        self.id.extend_from_slice(b"O-");
        padded(&mut self.id, number, 9);
        self.head.clear();
        self.head.extend_from_slice(b"{\"orderId\":\"");
        self.head.extend_from_slice(&self.id);
        self.head.extend_from_slice(b"\",\"userId\":\"U-");
        padded(&mut self.head, u64::from(user), 5);
        self.head.extend_from_slice(b"\",\"eventType\":\"");

        let mut items = Vec::with_capacity(256);
        let (mut cents, mut pieces) = (0, 0);
        for index in 0..=draw.below(3) {
            let product = draw.skewed_below(settings.products) + 1;
            let quantity = draw.below(3) + 1;
            // A product costs the same in every order: 1.00 to 200.99.
            let price = 100 + u64::from(product) * 7_919 % 20_000;
            cents += u64::from(quantity) * price;
            pieces += quantity;
            if index > 0 {
                items.push(b',');
            }
            items.extend_from_slice(b"{\"productId\":\"P-");
            padded(&mut items, u64::from(product), 4);
            items.extend_from_slice(b"\",\"productName\":\"Product ");
            padded(&mut items, u64::from(product), 1);
            items.extend_from_slice(b"\",\"quantity\":");
            padded(&mut items, u64::from(quantity), 1);
            items.extend_from_slice(b",\"price\":");
            money(&mut items, price);
            items.push(b'}');
        }
        self.tail.clear();
        self.tail.extend_from_slice(b"\",\"amount\":");
        money(&mut self.tail, cents);
        self.tail.extend_from_slice(b",\"itemCount\":");
        padded(&mut self.tail, u64::from(pieces), 1);
        self.tail.extend_from_slice(b",\"category\":\"");
        self.tail.extend_from_slice(category.as_bytes());
        self.tail.extend_from_slice(b"\",\"items\":[");
        self.tail.extend_from_slice(&items);
        self.tail.extend_from_slice(b"],\"timestamp\":");
    }

    pub(super) fn id(&self) -> &[u8] {
        &self.id
    }

    /// Appends the JSON of one event.
    pub(super) fn write(&self, out: &mut Vec<u8>, event: EventType, timestamp: i64) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(event.as_str().as_bytes());
        out.extend_from_slice(&self.tail);
        out.extend_from_slice(itoa::Buffer::new().format(timestamp).as_bytes());
        out.push(b'}');
    }
}

/// Decimal digits with leading zeros up to `width`.
fn padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value);
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits.len())));
    out.extend_from_slice(digits.as_bytes());
}

fn money(out: &mut Vec<u8>, cents: u64) {
    padded(out, cents / 100, 1);
    out.push(b'.');
    padded(out, cents % 100, 2);
}
