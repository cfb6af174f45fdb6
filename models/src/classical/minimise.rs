//! The lowest point of a function of a few variables, without its derivatives.

/// A point and the function's value there.
type Vertex<const N: usize> = ([f64; N], f64);

/// The simplex search of Nelder and Mead (1965), from `start` with edges of `edge`, for so many evaluations at most or until the values of the simplex differ
/// by less than `tolerance`, relative to the lowest. A point where the function is not a number is as bad as can be.
pub(super) fn minimise<const N: usize>(
    start: [f64; N],
    edge: [f64; N],
    evaluations: usize,
    tolerance: f64,
    mut of: impl FnMut(&[f64; N]) -> f64,
) -> Vertex<N> {
    let mut left = evaluations;
    let mut value = |point: &[f64; N]| {
        left = left.saturating_sub(1);
        let value = of(point);
        (if value.is_nan() { f64::INFINITY } else { value }, left > 0)
    };
    let mut simplex: Vec<Vertex<N>> = vec![(start, value(&start).0)];
    for at in 0..N {
        let mut point = start;
        point[at] += edge[at];
        simplex.push((point, value(&point).0));
    }
    loop {
        simplex.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        let (best, worst, second) = (simplex[0].1, simplex[N].1, simplex[N.saturating_sub(1)].1);
        if worst - best <= tolerance * best.abs().max(f64::MIN_POSITIVE) {
            return simplex[0];
        }
        let mut centre = [0.0; N];
        for (point, _) in &simplex[..N] {
            centre.iter_mut().zip(point).for_each(|(centre, x)| *centre += x / N as f64);
        }
        let worst_point = simplex[N].0;
        // On the line from the worst point through the centre of the others.
        let along = |by: f64| {
            let mut point = centre;
            point.iter_mut().zip(worst_point).for_each(|(x, worst)| *x += by * (*x - worst));
            point
        };
        let mut try_at = |by: f64| {
            let point = along(by);
            let (value, goes_on) = value(&point);
            (point, value, goes_on)
        };
        let (reflected, at_reflected, mut goes_on) = try_at(1.0);
        let mut taken = (reflected, at_reflected);
        if goes_on && at_reflected < best {
            let (expanded, at_expanded, more) = try_at(2.0);
            goes_on = more;
            if at_expanded < at_reflected {
                taken = (expanded, at_expanded);
            }
        } else if goes_on && at_reflected >= second {
            let (contracted, at_contracted, more) = try_at(if at_reflected < worst { 0.5 } else { -0.5 });
            goes_on = more;
            taken = (contracted, at_contracted);
        }
        if taken.1 < worst {
            simplex[N] = taken;
        } else if goes_on {
            let lowest = simplex[0].0;
            for (point, at_point) in &mut simplex[1..] {
                point.iter_mut().zip(lowest).for_each(|(x, low)| *x = f64::midpoint(*x, low));
                let (value, more) = value(point);
                (*at_point, goes_on) = (value, more);
            }
        }
        if !goes_on {
            simplex.sort_by(|(_, a), (_, b)| a.total_cmp(b));
            return simplex[0];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_valley_of_rosenbrock_is_walked_to_its_end() {
        let valley = |[x, y]: &[f64; 2]| (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2);
        let ([x, y], lowest) = minimise([-1.2, 1.0], [0.5, 0.5], 1_000, 1e-12, valley);
        assert!((x - 1.0).abs() < 1e-4 && (y - 1.0).abs() < 1e-4 && lowest < 1e-8, "{x} {y} {lowest}");
    }

    #[test]
    fn evaluations_are_bounded_and_what_is_no_number_is_avoided() {
        let mut count = 0;
        let ([x], _) = minimise([4.0], [1.0], 25, 0.0, |[x]| {
            count += 1;
            if *x < 1.0 { f64::NAN } else { *x }
        });
        assert!((20..=27).contains(&count) && (1.0..1.01).contains(&x), "{count} {x}");
    }
}
