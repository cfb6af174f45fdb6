//! Models of one series alone, combined: what smoothing and the theta method make of demand that comes often, averaged, and TSB where it comes seldom. A plain average of
//! unlike methods is hard to beat by any of them (Makridakis, Spiliotis and Assimakopoulos, The M4 Competition, International Journal of Forecasting 36, 2020). Intervals are
//! calibrated on the last horizon of all series of the window.

use super::calibration::Calibration;
use super::{Answer, Candidate, Frame, blend};
use crate::classical::demand::DemandClass;
use crate::panel::Window;

pub(super) fn forecast(window: &Window<'_>) -> Vec<Answer> {
    let classes = blend::classes(window);
    let older = window.before(window.settings.horizon);
    let calibration = if older.parts.is_empty() {
        Calibration::default()
    } else {
        let made = Frame::new(&older, combined(&older, &classes));
        Calibration::of(&made, &classes, window.settings.horizon)
    };
    let made = window.parts.iter().zip(combined(window, &classes));
    made.map(|(part, answer)| calibration.apply(classes[part.series], answer)).collect()
}

fn combined(window: &Window<'_>, classes: &[DemandClass]) -> Vec<Answer> {
    let is_seldom = |class: DemandClass| matches!(class, DemandClass::Intermittent | DemandClass::Lumpy);
    let of = |candidate: Candidate, seldom: bool| {
        candidate.forecast(&window.only(|part| is_seldom(classes[part.series]) == seldom), None).into_iter()
    };
    let mut often = of(Candidate::Ets, false).zip(of(Candidate::Theta, false)).map(|(a, b)| average(a, &b));
    let mut seldom = of(Candidate::TeunterSyntetosBabai, true);
    let next = |part: &crate::panel::Part| {
        if is_seldom(classes[part.series]) { seldom.next() } else { often.next() }.unwrap_or_default()
    };
    window.parts.iter().map(next).collect()
}

fn average(mut a: Answer, b: &Answer) -> Answer {
    let columns = a.quantiles.iter_mut().chain([&mut a.mean]).zip(b.quantiles.iter().chain([&b.mean]));
    for (a, b) in columns {
        a.iter_mut().zip(b).for_each(|(a, b)| *a = a.midpoint(*b));
    }
    a
}
