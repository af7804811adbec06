//! A chart's data as CSV.

use super::{Chart, Kind, Unit};

/// A header and a row for each point, series after series.
pub(super) fn write(chart: &Chart) -> Vec<u8> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let heading = |axis: &super::Axis| match axis.unit {
        Unit::Plain => axis.label.clone(),
        Unit::Share => format!("{} (share)", axis.label),
    };
    let written = "memory takes what is written";
    table.write_record(["series", "kind", &heading(&chart.x), &heading(&chart.y)]).expect(written);
    for series in &chart.series {
        let kind = match series.kind {
            Kind::Measured => "measured",
            Kind::Theory => "theory",
        };
        for (x, y) in &series.points {
            table.write_record([&series.name, kind, &x.to_string(), &y.to_string()]).expect(written);
        }
    }
    table.into_inner().expect(written)
}
