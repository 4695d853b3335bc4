//! Kubernetes quantities ("64Mi", "250m", "1e3"), exact, and as people read them.

/// In thousandths of the unit (bytes, cores, pieces), rounded up as the API server does. None: not a quantity.
pub fn parse(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    // Scaled so that every suffix divides evenly: nano is a millionth of a thousandth.
    let (multiply, divide): (i128, i128) = match suffix {
        "" => (1_000, 1),
        "n" => (1, 1_000_000),
        "u" => (1, 1_000),
        "m" => (1, 1),
        "k" => (1_000_000, 1),
        "M" => (1_000_000_000, 1),
        "G" => (1_000_000_000_000, 1),
        "T" => (1_000_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1_000 << 10, 1),
        "Mi" => (1_000 << 20, 1),
        "Gi" => (1_000 << 30, 1),
        "Ti" => (1_000 << 40, 1),
        "Pi" => (1_000 << 50, 1),
        _ => {
            let exponent: u32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (1_000 * 10_i128.checked_pow(exponent.min(18))?, 1)
        }
    };
    if number.len() > 15 {
        return None; // beyond any cluster, and beyond the arithmetic below
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || fraction.chars().any(|c| !c.is_ascii_digit()) {
        return None;
    }
    let negative = whole.starts_with('-');
    let whole: i128 = if matches!(whole, "" | "-" | "+") { 0 } else { whole.parse().ok()? };
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let digits = whole.abs() * scale + fraction;
    let value = (digits * multiply).div_euclid(divide * scale)
        + i128::from((digits * multiply).rem_euclid(divide * scale) != 0);
    Some(if negative { -value } else { value })
}

/// "64 MiB", "0.25 CPU", "3": a value in thousandths, in the unit that the name of the resource implies.
pub fn show(resource: &str, thousandths: i128) -> String {
    match Unit::of(resource) {
        Unit::Bytes => bytes(thousandths / 1_000),
        Unit::Cpu => format!("{} CPU", decimal(thousandths)),
        Unit::Pieces => decimal(thousandths),
    }
}

/// As [`show`], from the server's own text; that text where it can't be read.
pub fn show_text(resource: &str, text: &str) -> String {
    parse(text).map_or_else(|| text.to_string(), |value| show(resource, value))
}

enum Unit {
    Bytes,
    Cpu,
    Pieces,
}

impl Unit {
    fn of(resource: &str) -> Self {
        if resource.contains("memory") || resource.contains("storage") {
            Self::Bytes
        } else if resource.ends_with("cpu") {
            Self::Cpu
        } else {
            Self::Pieces
        }
    }
}

fn bytes(bytes: i128) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    match bytes {
        0 => return "0".into(),
        -1023..=1023 => return format!("{bytes} bytes"),
        _ => {}
    }
    let mut scaled = bytes * 1_000 / 1024;
    let mut unit = 0;
    while scaled.abs() >= 1_024_000 && unit + 1 < UNITS.len() {
        scaled /= 1024;
        unit += 1;
    }
    // Two places suffice: "1.5 GiB", "0.81 GiB".
    format!("{} {}", decimal(scaled / 10 * 10), UNITS[unit])
}

/// Thousandths without trailing zeros: 1500 is "1.5".
fn decimal(thousandths: i128) -> String {
    let sign = if thousandths < 0 { "-" } else { "" };
    let (whole, rest) = (thousandths.abs() / 1_000, thousandths.abs() % 1_000);
    let text = format!("{sign}{whole}.{rest:03}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_exactly() {
        for (text, value) in [
            ("0", 0),
            ("1", 1_000),
            ("250m", 250),
            ("1.5", 1_500),
            ("0.1", 100),
            ("100n", 1),
            ("64Mi", 64 * 1_024 * 1_024 * 1_000),
            ("1k", 1_000_000),
            ("1e3", 1_000_000),
            ("2Gi", 2 * 1_024 * 1_024 * 1_024 * 1_000),
            ("-3", -3_000),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
        for odd in ["Mi5", "1Zi", "1.2.3", "lots"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn people_read_round_units() {
        assert_eq!(show_text("requests.memory", "64Mi"), "64 MiB");
        assert_eq!(show_text("limits.memory", "1536Mi"), "1.5 GiB");
        assert_eq!(show_text("requests.cpu", "500m"), "0.5 CPU");
        assert_eq!(show_text("pods", "24"), "24");
        assert_eq!(show_text("requests.memory", "1000"), "1000 bytes");
        assert_eq!(show_text("requests.memory", "lots"), "lots");
    }
}
