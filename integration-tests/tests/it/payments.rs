//! Payments for the examples that move them between Kafka and files, and what their totals must be.

use integration_tests::{Context, Result, ensure, topics::Cluster};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    ops::Range,
    path::Path,
};

const ACCOUNTS: u64 = 7;

/// Payment `number`: its account and its amount.
fn payment(number: u64) -> (String, i64) {
    (format!("account-{}", number % ACCOUNTS), i64::try_from(number % 1000).unwrap_or_default() + 1)
}

fn json(number: u64) -> String {
    let (account, amount) = payment(number);
    format!(r#"{{"account":"{account}","amount":{amount}}}"#)
}

/// Sends these payments, those of an account to one partition.
pub fn send(cluster: &Cluster, topic: &str, numbers: Range<u64>) -> Result<()> {
    let records: Vec<(String, String)> = numbers.map(|number| (payment(number).0, json(number))).collect();
    cluster.send(topic, records.iter().map(|(account, json)| (account.as_str(), json.as_bytes())))
}

/// Appends these payments to a file.
pub fn append(path: &Path, numbers: Range<u64>) -> Result<()> {
    let lines: String = numbers.map(|number| json(number) + "\n").collect();
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(file.write_all(lines.as_bytes())?)
}

/// One record of an output: an account after a payment, or a refund.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Total {
    pub account: String,
    pub payments: u64,
    pub refunds: u64,
    pub amount: i64,
}

impl Total {
    fn of(value: &Value) -> Result<Self> {
        let number = |field: &str| value.get(field).and_then(Value::as_i64);
        let whole = || {
            let account = value.get("account")?.as_str()?.to_owned();
            let (payments, refunds) = (number("payments")?, number("refunds").unwrap_or(0));
            Some((account, u64::try_from(payments).ok()?, u64::try_from(refunds).ok()?, number("amount")?))
        };
        let (account, payments, refunds, amount) = whole().with_context(|| format!("no total: {value}"))?;
        Ok(Self { account, payments, refunds, amount })
    }
}

/// The totals that readers of committed records see in a topic.
pub fn in_topic(cluster: &Cluster, topic: &str) -> Result<Vec<Total>> {
    cluster.read(topic)?.iter().map(|record| Total::of(&record.json()?)).collect()
}

/// The names of what lies in a folder of output, sorted; none if it is not there.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<String>>>()?;
    names.sort();
    Ok(names)
}

/// The totals that readers of a folder see, who take the files that begin with `part-` in the order of their names.
pub fn in_files(folder: &Path) -> Result<Vec<Total>> {
    let mut totals = Vec::new();
    for name in names(folder)?.into_iter().filter(|name| name.starts_with("part-")) {
        let text = fs::read_to_string(folder.join(name))?;
        ensure!(text.ends_with('\n'), "a file that was cut off");
        for line in text.lines() {
            totals.push(Total::of(&serde_json::from_str(line)?)?);
        }
    }
    Ok(totals)
}

/// That nothing is staged which was not published.
pub fn nothing_staged(folder: &Path) -> Result<()> {
    let staged: Vec<String> = names(folder)?.into_iter().filter(|name| name.starts_with('.')).collect();
    ensure!(staged.is_empty(), "left over in {}: {staged:?}", folder.display());
    Ok(())
}

fn by_account(totals: &[Total]) -> BTreeMap<&str, Vec<&Total>> {
    let mut accounts: BTreeMap<&str, Vec<&Total>> = BTreeMap::new();
    for total in totals {
        accounts.entry(&total.account).or_default().push(total);
    }
    accounts
}

/// That each of the payments below `count` has one total, and each account's come in order: none is lost, none is there twice.
pub fn each_once(totals: &[Total], count: u64) -> Result<()> {
    let mut right: BTreeMap<String, Vec<Total>> = BTreeMap::new();
    for number in 0..count {
        let (account, amount) = payment(number);
        let all = right.entry(account.clone()).or_default();
        let (payments, before) = all.last().map_or((0, 0), |last| (last.payments, last.amount));
        all.push(Total { account, payments: payments + 1, refunds: 0, amount: before + amount });
    }
    let found = by_account(totals);
    for (account, right) in &right {
        let found = found.get(account.as_str()).cloned().unwrap_or_default();
        let wrong = right.iter().zip(&found).find(|(right, found)| right != *found);
        ensure!(wrong.is_none(), "{account}: {wrong:?}: the first is right, the second was found");
        ensure!(found.len() == right.len(), "{account}: {} totals instead of {}", found.len(), right.len());
    }
    ensure!(totals.len() as u64 == count, "{} totals instead of {count}", totals.len());
    Ok(())
}

/// That each payment below `payments` and each refund below `refunds` has one total, however they come between each other: from one total
/// of an account to the next there is just the next payment, or just the next refund.
pub fn each_once_of_both(totals: &[Total], payments: u64, refunds: u64) -> Result<()> {
    let amounts = |count: u64, account: &str| -> Vec<i64> {
        (0..count).map(payment).filter(|(of, _)| of == account).map(|(_, amount)| amount).collect()
    };
    for (account, found) in by_account(totals) {
        let (paid, refunded) = (amounts(payments, account), amounts(refunds, account));
        let mut before = Total { account: account.to_owned(), payments: 0, refunds: 0, amount: 0 };
        for total in found {
            let (more_payments, more_refunds) =
                (total.payments.checked_sub(before.payments), total.refunds.checked_sub(before.refunds));
            let next = |all: &[i64], count: u64| all.get(usize::try_from(count).unwrap_or(usize::MAX)).copied();
            let change = match (more_payments, more_refunds) {
                (Some(1), Some(0)) => next(&paid, before.payments),
                (Some(0), Some(1)) => next(&refunded, before.refunds).map(|amount| -amount),
                _ => None,
            };
            ensure!(change == Some(total.amount - before.amount), "after {before:?} came {total:?}");
            before = total.clone();
        }
        let all = (u64::try_from(paid.len())?, u64::try_from(refunded.len())?);
        ensure!((before.payments, before.refunds) == all, "{account} ends with {before:?}, {all:?} is right");
    }
    ensure!(totals.len() as u64 == payments + refunds, "{} totals instead of {}", totals.len(), payments + refunds);
    Ok(())
}
