//! An attempt drawn on a line of time: name, connection, TLS, the wait for the first byte, the rest.

use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;
use chathook_engine::ports::endpoints::Phases;

use super::span::micros;

const WIDTH: u64 = 600;
const HEIGHT: u64 = 14;

/// One phase: its class in the style sheet, its name, how long it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub class: &'static str,
    pub name: &'static str,
    pub us: u64,
}

impl Part {
    #[must_use]
    pub fn took(&self) -> String {
        micros(self.us)
    }
}

/// `{{ waterfall }}` in a template is the drawing; [`Self::parts`] tell the same in words.
#[derive(Debug, Clone)]
pub struct Waterfall {
    pub parts: Vec<Part>,
    total_us: u64,
    /// What the whole line stands for: the longest attempt of a delivery, so that all share one scale.
    scale_us: u64,
}

impl Waterfall {
    /// Phases that did not happen, such as the handshake on a kept-open connection, are left out. What no phase
    /// accounts for is the answer's body, or the wait that ended without a first byte.
    #[must_use]
    pub fn of(phases: &Phases, scale_us: u64) -> Self {
        let steps = [
            ("dns", "DNS", phases.resolve_us),
            ("connect", "Connect", phases.connect_us),
            ("tls", "TLS", phases.tls_us),
            ("wait", "First byte", phases.first_byte_us),
        ];
        let mut parts: Vec<Part> =
            steps.into_iter().filter_map(|(class, name, us)| us.map(|us| Part { class, name, us })).collect();
        let known: u64 = parts.iter().map(|part| part.us).sum();
        let rest = phases.total_us.saturating_sub(known);
        let (class, name) = match phases.first_byte_us {
            Some(_) => ("body", "Body"),
            None => ("none", "No answer"),
        };
        parts.push(Part { class, name, us: rest });
        Self { parts, total_us: phases.total_us, scale_us: scale_us.max(1) }
    }

    #[must_use]
    pub fn total(&self) -> String {
        micros(self.total_us)
    }

    fn label(&self) -> String {
        let parts: Vec<String> =
            self.parts.iter().map(|part| format!("{} {}", part.name, part.took())).collect();
        format!("{} in all: {}", self.total(), parts.join(", "))
    }
}

impl fmt::Display for Waterfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bars = String::new();
        let mut at_us = 0;
        for part in &self.parts {
            let left = at_us * WIDTH / self.scale_us;
            at_us += part.us;
            // A phase that happened is seen, however short it was.
            let width = (at_us * WIDTH / self.scale_us).saturating_sub(left).max(u64::from(part.us > 0));
            write!(
                bars,
                "<rect class=\"{}\" x=\"{left}\" width=\"{width}\" height=\"{HEIGHT}\"/>",
                part.class
            )?;
        }
        let label = self.label();
        write!(
            f,
            "<svg class=\"waterfall\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{label}\">{bars}</svg>"
        )
    }
}

/// Its texts are our own names and numbers.
impl HtmlSafe for Waterfall {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other_on_one_scale_and_their_sum_is_the_whole() {
        let phases = Phases {
            resolve_us: Some(1_000),
            connect_us: Some(2_000),
            tls_us: None,
            first_byte_us: Some(3_000),
            total_us: 10_000,
        };
        let drawn = Waterfall::of(&phases, 20_000);
        assert_eq!(drawn.parts.iter().map(|part| part.us).sum::<u64>(), phases.total_us);
        assert_eq!(
            drawn.label(),
            "10.0 ms in all: DNS 1.0 ms, Connect 2.0 ms, First byte 3.0 ms, Body 4.0 ms"
        );
        let svg = drawn.to_string();
        for (class, x, width) in [("dns", 0, 30), ("connect", 30, 60), ("wait", 90, 90), ("body", 180, 120)] {
            assert!(svg.contains(&format!("<rect class=\"{class}\" x=\"{x}\" width=\"{width}\"")), "{svg}");
        }
    }

    #[test]
    fn an_attempt_without_an_answer_says_so() {
        let phases = Phases { connect_us: Some(500), total_us: 10_000_000, ..Phases::default() };
        let drawn = Waterfall::of(&phases, phases.total_us);
        assert_eq!(drawn.label(), "10.00 s in all: Connect 500 µs, No answer 9.99 s");
    }
}
