//! Lists of the API, followed from page to page until there is as much as was asked for.

use chathook_adapters::api_client::{ApiClient, ApiError, Target};
use clap::Args;
use serde_json::Value;

use super::output::{Output, Reader, remark};

/// Items of one answer at most (docs/history.md).
const PAGE_MAX: usize = 1_000;

#[derive(Debug, Clone, Copy, Args)]
pub struct Limit {
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
}

impl Limit {
    /// So many; `None` for none at all.
    #[must_use]
    pub fn to(count: u32) -> Option<Self> {
        (count > 0).then_some(Self { limit: count })
    }

    fn count(self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }
}

/// What was found of a list.
pub struct Found {
    /// The items as JSON, for programs.
    pub data: Value,
    has_more: bool,
}

impl Found {
    /// Items one after the other.
    pub fn items(&self) -> impl Iterator<Item = &Value> {
        items(&self.data)
    }

    /// Tells a person where the list goes on.
    pub fn hint(&self, out: &Output) {
        if self.has_more && out.reader == Reader::Person {
            remark("There are more: raise --limit.");
        }
    }
}

/// The items of a list in an answer.
pub fn items(data: &Value) -> impl Iterator<Item = &Value> {
    data.as_array().into_iter().flatten()
}

/// A list with numbered pages.
pub async fn of_pages(api: &ApiClient, target: &Target, limit: Limit) -> Result<Found, ApiError> {
    let (limit, mut all) = (limit.count(), Vec::new());
    // Each page is as large as the first, or they would not follow each other.
    let size = limit.min(PAGE_MAX).to_string();
    for page in 1.. {
        let asked = target.clone().with("perPage", &size).with("page", &page.to_string());
        let answer = api.get(&asked).await?;
        let total = answer.meta["pagination"]["total"].as_u64().and_then(|total| usize::try_from(total).ok());
        let count = take(&mut all, answer.data);
        let has_more = total.is_some_and(|total| total > all.len());
        if all.len() >= limit || !has_more || count == 0 {
            return Ok(cut(all, limit, has_more));
        }
    }
    Ok(cut(all, limit, true))
}

/// A list with a cursor. A page may be short, even empty, and the list still go on.
pub async fn of_cursor(api: &ApiClient, target: &Target, limit: Limit) -> Result<Found, ApiError> {
    let (limit, mut all) = (limit.count(), Vec::new());
    let mut cursor: Option<String> = None;
    loop {
        let size = (limit - all.len()).min(PAGE_MAX).to_string();
        let asked = target.clone().with("limit", &size).with_any("cursor", cursor.as_deref());
        let answer = api.get(&asked).await?;
        take(&mut all, answer.data);
        cursor = answer.meta["cursor"].as_str().map(str::to_owned);
        if all.len() >= limit || cursor.is_none() {
            return Ok(cut(all, limit, cursor.is_some()));
        }
    }
}

fn take(all: &mut Vec<Value>, data: Value) -> usize {
    let Value::Array(items) = data else { return 0 };
    let count = items.len();
    all.extend(items);
    count
}

fn cut(mut all: Vec<Value>, limit: usize, goes_on: bool) -> Found {
    let has_more = goes_on || all.len() > limit;
    all.truncate(limit);
    Found { data: Value::Array(all), has_more }
}
