//! A picture on a page: its title, itself, and its numbers for whoever wants them or does not see it.

use maud::{Markup, PreEscaped, html};

use super::{Picture, Table, svg};

/// A figure with its numbers folded away below it; without a value, the reason in its place.
#[must_use]
pub fn figure(picture: &impl Picture, note: &str) -> Markup {
    html! {
        figure.chart {
            figcaption {
                (picture.title())
                @if !note.is_empty() { span.note { " " (note) } }
            }
            @match svg(picture) {
                Ok(svg) => {
                    (PreEscaped(svg))
                    details {
                        summary { "Numbers" }
                        (table(&picture.table()))
                    }
                }
                Err(_) => p.undefined { "There is nothing to draw: no value yet." }
            }
        }
    }
}

/// A table of numbers.
#[must_use]
pub fn table(table: &Table) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Numbers of the picture" {
            table.numbers {
                thead { tr { @for name in &table.head { th scope="col" { (name) } } } }
                tbody { @for row in &table.rows { tr { @for cell in row { td { (cell) } } } } }
            }
        }
    }
}
