//! A global net over all series: TiDE-Q, a dense encoder of the newest values and a decoder that each period ahead passes through.
//!
//! The encoder reads what is known at an origin and gives each period ahead a short code; the decoder, the same for all periods, reads that code and
//! what is told of the period, and answers with eleven quantiles and the mean. Quantiles are a median and positive steps away from it: they cannot cross.
//!
//! After Das et al., Long-term Forecasting with TiDE: Time-series Dense Encoder, TMLR 2023, with quantiles instead of a point, and without its
//! projection of covariates: what is told of a period is a short row already.
//!
//! Nothing here draws from a generator but the one that a seed begins, and a net learns on one thread: the same lessons give the same net bit by bit.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData, activation};
use burn_optim::grad_clipping::GradientClippingConfig;
use burn_optim::{AdamWConfig, GradientsParams};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use domain::forecast::QUANTILES_PER_MILLE;

/// Values of an answer: eleven quantiles, then the mean.
pub const VALUES: usize = 12;

const QUANTILES: usize = 11;
const MEDIAN: usize = 5;

/// Steps until the full rate is reached.
const WARM_UP: f64 = 100.0;

/// Origins that are answered at once.
const AT_ONCE: usize = 256;

/// How a net learns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Steps of the optimiser.
    pub steps: usize,
    /// Its rate at the beginning; it falls to a hundredth along a half cosine.
    pub rate: f64,
    /// Decay of the weights.
    pub decay: f32,
    /// Rows in a batch, about: origins times periods ahead.
    pub rows: usize,
    /// Units of the encoder's layers.
    pub encoder: usize,
    /// Values of a code.
    pub code: usize,
    /// Units of the decoder's layers.
    pub decoder: usize,
    /// The share of units that a step leaves out.
    pub dropout: f32,
    /// Where it begins.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 1_500,
            rate: 2e-3,
            decay: 1e-3,
            rows: 512,
            encoder: 128,
            code: 8,
            decoder: 64,
            dropout: 0.1,
            seed: 7,
        }
    }
}

/// What is read: of each origin a row about the past, and of each of its periods ahead a row about that.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Read {
    /// Periods ahead.
    pub horizon: usize,
    /// `origins x (values of the past)`.
    pub past: Vec<f32>,
    /// `origins x horizon x (values of a period)`.
    pub steps: Vec<f32>,
    /// `origins x horizon`: where quantiles begin.
    pub start: Vec<f32>,
    /// `origins x horizon`: the logarithm of where the mean begins.
    pub start_mean: Vec<f32>,
}

impl Read {
    fn origins(&self) -> usize {
        self.start.len() / self.horizon
    }
}

/// What came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Came {
    /// `origins x horizon`: on the scale of quantiles.
    pub bent: Vec<f32>,
    /// On the scale of the mean.
    pub raw: Vec<f32>,
    /// What a period's quantiles count; 0 where nothing came.
    pub weight: Vec<f32>,
    /// What its mean counts.
    pub size: Vec<f32>,
}

/// A layer as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Layer {
    /// Row by row: of each input what it counts for each output.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// A layer: what it reads times weights, and a bias.
#[derive(Module, Debug)]
struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Linear {
    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        input.matmul(self.weight.val()) + self.bias.val().unsqueeze()
    }
}

/// A net.
#[derive(Module, Debug)]
pub struct Net {
    first: Linear,
    second: Linear,
    code: Linear,
    third: Linear,
    fourth: Linear,
    last: Linear,
}

impl Net {
    /// Its layers, to be stored.
    pub(crate) fn layers(&self) -> Vec<Layer> {
        let layers = [&self.first, &self.second, &self.code, &self.third, &self.fourth, &self.last];
        let of_layer = |layer: &Linear| Layer {
            weight: layer.weight.val().into_data().iter().collect(),
            bias: layer.bias.val().into_data().iter().collect(),
        };
        layers.into_iter().map(of_layer).collect()
    }

    /// A net of stored layers; none where they are not those of a net.
    pub(crate) fn of(layers: &[Layer]) -> Option<Self> {
        let device = Device::flex();
        let linear = |layer: &Layer| {
            let to = layer.bias.len();
            let from = layer.weight.len().checked_div(to).filter(|from| from * to == layer.weight.len())?;
            let weight = TensorData::new(layer.weight.clone(), [from, to]);
            let bias = TensorData::new(layer.bias.clone(), [to]);
            Some(Linear {
                weight: Param::from_tensor(Tensor::from_data(weight, &device)),
                bias: Param::from_tensor(Tensor::from_data(bias, &device)),
            })
        };
        let [first, second, code, third, fourth, last] = layers else { return None };
        Some(Self {
            first: linear(first)?,
            second: linear(second)?,
            code: linear(code)?,
            third: linear(third)?,
            fourth: linear(fourth)?,
            last: linear(last)?,
        })
    }

    /// A net that has learned nothing, for rows of these widths.
    fn new(read: &Read, config: &Config, random: &mut ChaCha8Rng, device: &Device) -> Self {
        let (past, step) = (read.past.len() / read.origins(), read.steps.len() / read.start.len());
        let mut linear = |from: usize, to: usize, gain: f32| {
            let bound = gain / (from as f32).sqrt();
            let values: Vec<f32> = (0..from * to).map(|_| random.random_range(-bound..bound)).collect();
            Linear {
                weight: Param::from_tensor(Tensor::from_data(TensorData::new(values, [from, to]), device)),
                bias: Param::from_tensor(Tensor::zeros([to], device)),
            }
        };
        Self {
            first: linear(past + step, config.encoder, 1.4),
            second: linear(config.encoder, config.encoder, 1.4),
            code: linear(config.encoder, read.horizon * config.code, 1.0),
            third: linear(step + config.code, config.decoder, 1.4),
            fourth: linear(config.decoder, config.decoder, 1.4),
            last: linear(config.decoder, VALUES, 0.1),
        }
    }

    /// Quantiles of `origins * horizon` rows less where they begin, on their scale, and the logarithm of the mean over where it begins.
    fn forward(
        &self,
        past: Tensor<2>,
        steps: Tensor<2>,
        horizon: usize,
        dropped: &mut dyn FnMut(Tensor<2>) -> Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>) {
        let device = past.device();
        let [origins, _] = past.dims();
        let [rows, step] = steps.dims();
        let nearest = steps.clone().reshape([origins, horizon * step]).slice([0..origins, 0..step]);
        let read = Tensor::cat(vec![past, nearest], 1);
        let hidden = dropped(activation::relu(self.first.forward(read)));
        let hidden = dropped(activation::relu(self.second.forward(hidden.clone()))) + hidden;
        let code = self.code.forward(hidden).reshape([rows as i32, -1]);
        let hidden = dropped(activation::relu(self.third.forward(Tensor::cat(vec![steps, code], 1))));
        let hidden = dropped(activation::relu(self.fourth.forward(hidden.clone()))) + hidden;
        let made = self.last.forward(hidden);
        let middle = made.clone().slice([0..rows, 0..1]);
        let away = made.clone().slice([0..rows, 1..QUANTILES]).clamp(-6.0, 6.0).sub_scalar(1.5).exp();
        let quantiles = Tensor::cat(vec![middle, away], 1).matmul(ladder(&device));
        let mean = made.slice([0..rows, QUANTILES..VALUES]).clamp(-5.0, 5.0);
        (quantiles, mean)
    }
}

/// Sums a median and the steps away from it up to quantiles.
fn ladder(device: &Device) -> Tensor<2> {
    let mut sums = vec![0.0_f32; QUANTILES * QUANTILES];
    for quantile in 0..QUANTILES {
        sums[quantile] = 1.0;
        // Step `k` lies between quantiles `k - 1` and `k`; below the median they are taken away.
        for step in 1..QUANTILES {
            let lies_below = step <= MEDIAN && quantile < step;
            let lies_above = step > MEDIAN && quantile >= step;
            sums[step * QUANTILES + quantile] =
                f32::from(u8::from(lies_above)) - f32::from(u8::from(lies_below));
        }
    }
    Tensor::from_data(TensorData::new(sums, [QUANTILES, QUANTILES]), device)
}

/// Tensors of a batch.
struct Batch {
    past: Tensor<2>,
    steps: Tensor<2>,
    start: Tensor<2>,
    start_mean: Tensor<2>,
}

impl Batch {
    fn of(read: &Read, origins: &[usize], device: &Device) -> Self {
        let count = read.origins();
        let rows = origins.len() * read.horizon;
        Self {
            past: gathered(&read.past, count, origins, origins.len(), device),
            steps: gathered(&read.steps, count, origins, rows, device),
            start: gathered(&read.start, count, origins, rows, device),
            start_mean: gathered(&read.start_mean, count, origins, rows, device),
        }
    }
}

/// The values of some of `count` origins, as a matrix of so many rows.
fn gathered(values: &[f32], count: usize, origins: &[usize], rows: usize, device: &Device) -> Tensor<2> {
    let width = values.len() / count;
    let mut picked: Vec<f32> = Vec::with_capacity(origins.len() * width);
    origins.iter().for_each(|at| picked.extend_from_slice(&values[at * width..(at + 1) * width]));
    let columns = picked.len() / rows;
    Tensor::from_data(TensorData::new(picked, [rows, columns]), device)
}

/// The loss of a batch: pinball losses of all quantiles, and the Poisson deviance of the mean.
fn loss(
    net: &Net,
    read: &Read,
    came: &Came,
    origins: &[usize],
    device: &Device,
    dropped: &mut dyn FnMut(Tensor<2>) -> Tensor<2>,
) -> Tensor<1> {
    let batch = Batch::of(read, origins, device);
    let (count, rows) = (read.origins(), origins.len() * read.horizon);
    let column = |values: &[f32]| gathered(values, count, origins, rows, device);
    let (quantiles, mean) = net.forward(batch.past, batch.steps, read.horizon, dropped);
    let shares: Vec<f32> =
        QUANTILES_PER_MILLE.iter().map(|per_mille| f32::from(*per_mille) / 1_000.0).collect();
    let shares: Tensor<2> = Tensor::from_data(TensorData::new(shares, [1, QUANTILES]), device);
    let above = column(&came.bent) - batch.start - quantiles;
    let pinball = above.clone() * shares + activation::relu(above.neg());
    let log_mean = mean + batch.start_mean;
    let deviance = log_mean.clone().exp() - column(&came.raw) * log_mean;
    let of_rows = pinball.mean_dim(1) * column(&came.weight) + deviance * column(&came.size).mul_scalar(0.1);
    of_rows.mean()
}

impl Net {
    /// Learns from what came.
    #[must_use]
    pub fn learn(read: &Read, came: &Came, config: &Config) -> Self {
        let device = Device::flex().autodiff();
        let mut random = ChaCha8Rng::seed_from_u64(config.seed);
        let mut net = Self::new(read, config, &mut random, &device);
        let clipping = GradientClippingConfig::Norm(1.0);
        let mut optimiser =
            AdamWConfig::new().with_weight_decay(config.decay).with_grad_clipping(Some(clipping)).init();
        let size = (config.rows / read.horizon).clamp(1, read.origins());
        let mut order: Vec<usize> = Vec::new();
        for step in 0..config.steps {
            if order.len() < size {
                order = shuffled(read.origins(), &mut random);
            }
            let origins = order.split_off(order.len() - size);
            let mut dropped = |values| left_out(values, config.dropout, &mut random);
            let loss = loss(&net, read, came, &origins, &device, &mut dropped);
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            net = optimiser.step(config.rate * pace(step, config.steps), net, gradients);
        }
        net.valid()
    }

    /// Of each origin and period ahead the quantiles on their scale, then the mean.
    #[must_use]
    pub fn predict(&self, read: &Read) -> Vec<[f32; VALUES]> {
        let device = Device::flex();
        let all: Vec<usize> = (0..read.origins()).collect();
        let mut answers = Vec::with_capacity(read.start.len());
        for origins in all.chunks(AT_ONCE) {
            let batch = Batch::of(read, origins, &device);
            let (quantiles, mean) = self.forward(batch.past, batch.steps, read.horizon, &mut |values| values);
            let made = Tensor::cat(vec![quantiles + batch.start, (mean + batch.start_mean).exp()], 1);
            let made: Vec<f32> = made.into_data().iter().collect();
            answers.extend(made.chunks_exact(VALUES).map(|row| std::array::from_fn(|at| row[at])));
        }
        answers
    }
}

/// The share of the rate at a step: up to all of it within the first steps, then down to a hundredth along a half cosine.
fn pace(step: usize, steps: usize) -> f64 {
    let warm = ((step + 1) as f64 / WARM_UP).min(1.0);
    let done = step as f64 / steps as f64;
    warm * (0.01 + 0.99 * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()))
}

fn shuffled(count: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, random.random_range(0..=last));
    }
    order
}

/// Leaves a share of the values out and makes the others larger for it.
fn left_out(values: Tensor<2>, share: f32, random: &mut ChaCha8Rng) -> Tensor<2> {
    let (dims, kept) = (values.dims(), 1.0 - share);
    let mut factor = || if random.random::<f32>() < kept { 1.0 / kept } else { 0.0 };
    let factors: Vec<f32> = (0..dims[0] * dims[1]).map(|_| factor()).collect();
    values.clone() * Tensor::from_data(TensorData::new(factors, dims), &values.device())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HORIZON: usize = 4;

    fn config() -> Config {
        Config { steps: 300, rows: 64, encoder: 16, code: 3, decoder: 16, ..Config::default() }
    }

    /// What is told of a period, times what is told of the past, and noise: wider where the last value of a row is larger.
    fn lessons(origins: usize) -> (Read, Came) {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let (mut read, mut came) = (Read { horizon: HORIZON, ..Read::default() }, Came::default());
        for _ in 0..origins {
            let past: [f32; 3] = std::array::from_fn(|_| random.random_range(-1.0..1.0));
            read.past.extend(past);
            for _ in 0..HORIZON {
                let step: [f32; 5] = std::array::from_fn(|_| random.random_range(-1.0..1.0));
                let y = 1.0 + past[0] * step[1] + (1.1 + step[4]) * random.random_range(-0.3..0.3_f32);
                read.steps.extend(step);
                read.start.push(0.5);
                read.start_mean.push(0.0);
                came.bent.push(y);
                came.raw.push(y);
                came.weight.push(1.0);
                came.size.push(1.0);
            }
        }
        (read, came)
    }

    /// The mean loss of a net, without a share left out.
    fn loss_of(net: &Net, read: &Read, came: &Came) -> Tensor<1> {
        let all: Vec<usize> = (0..read.origins()).collect();
        loss(net, read, came, &all, &Device::flex().autodiff(), &mut |values| values)
    }

    #[test]
    fn gradients_are_slopes_of_the_loss() {
        type Layer = fn(&mut Net) -> &mut Linear;
        let layers: [(&str, Layer); 6] = [
            ("first", |net| &mut net.first),
            ("second", |net| &mut net.second),
            ("code", |net| &mut net.code),
            ("third", |net| &mut net.third),
            ("fourth", |net| &mut net.fourth),
            ("last", |net| &mut net.last),
        ];
        let (read, came) = lessons(400);
        let device = Device::flex().autodiff();
        let mut random = ChaCha8Rng::seed_from_u64(5);
        // One that has learned a little: at the beginning, most slopes are next to nothing.
        let mut net = Net::learn(&read, &came, &Config { steps: 30, ..config() }).train();
        let gradients = loss_of(&net, &read, &came).backward();
        for (name, layer) in layers {
            for is_bias in [false, true] {
                let [from, to] = layer(&mut net).weight.dims();
                let slopes: Vec<f32> = if is_bias {
                    layer(&mut net).bias.val().grad(&gradients).expect("slopes").into_data().iter().collect()
                } else {
                    layer(&mut net)
                        .weight
                        .val()
                        .grad(&gradients)
                        .expect("slopes")
                        .into_data()
                        .iter()
                        .collect()
                };
                // Along the slopes themselves and a direction by chance, since many small slopes drown in rounding one by one.
                let length = slopes.iter().map(|slope| slope * slope).sum::<f32>().sqrt();
                let unit = 1.0 / (slopes.len() as f32).sqrt();
                let direction: Vec<f32> = slopes
                    .iter()
                    .map(|slope| slope / length + unit * random.random_range(-1.0..1.0))
                    .collect();
                let moved = |by: f32| {
                    let mut net = net.clone();
                    let step: Vec<f32> = direction.iter().map(|value| by * value).collect();
                    let linear = layer(&mut net);
                    if is_bias {
                        let step = Tensor::<1>::from_data(TensorData::new(step, [to]), &device);
                        linear.bias = Param::from_tensor((linear.bias.val() + step).detach());
                    } else {
                        let step = Tensor::<2>::from_data(TensorData::new(step, [from, to]), &device);
                        linear.weight = Param::from_tensor((linear.weight.val() + step).detach());
                    }
                    f64::from(loss_of(&net, &read, &came).into_scalar::<f32>())
                };
                let by = 0.01;
                let measured = (moved(by) - moved(-by)) / (2.0 * f64::from(by));
                let said: f64 = slopes.iter().zip(&direction).map(|(a, b)| f64::from(a * b)).sum();
                assert!(
                    (measured - said).abs() <= 0.03 * said.abs() + 1e-4,
                    "{name}, bias {is_bias}: {measured} beside {said}"
                );
            }
        }
    }

    #[test]
    fn a_net_learns_what_it_is_shown() {
        let (read, came) = lessons(2_000);
        let loss = |net: &Net| loss_of(net, &read, &came).into_scalar::<f32>();
        let untaught = Net::learn(&read, &came, &Config { steps: 0, ..config() });
        let short = Net::learn(&read, &came, &config());
        assert!(loss(&short) < loss(&untaught) - 0.05, "{} and {}", loss(&short), loss(&untaught));
        let answers = short.predict(&read);
        let share = |at: usize| {
            let below = answers.iter().zip(&came.bent).filter(|(answer, y)| **y <= answer[at]).count();
            below as f64 / answers.len() as f64
        };
        for (at, per_mille) in QUANTILES_PER_MILLE.iter().enumerate() {
            let meant = f64::from(*per_mille) / 1_000.0;
            assert!(
                (share(at) - meant).abs() < 0.06,
                "{} of values lie below the quantile at {meant}",
                share(at)
            );
        }
    }

    #[test]
    fn the_same_lessons_give_the_same_net_whatever_runs_beside_it() {
        let (read, came) = lessons(200);
        let learned = || Net::learn(&read, &came, &Config { steps: 60, ..config() }).predict(&read);
        let alone = learned();
        let beside = std::thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(learned));
            threads.map(|thread| thread.join().expect("answers"))
        });
        assert!(beside.iter().all(|answers| *answers == alone));
        let other = Net::learn(&read, &came, &Config { steps: 60, seed: 8, ..config() });
        assert_ne!(other.predict(&read), alone);
    }

    #[test]
    fn quantiles_do_not_cross_however_odd_what_is_read() {
        let (mut read, came) = lessons(200);
        let net = Net::learn(&read, &came, &config());
        read.steps.iter_mut().enumerate().for_each(|(at, value)| *value = [4.0, -4.0, 0.0][at % 3]);
        read.past.iter_mut().for_each(|value| *value *= 1e4);
        for answer in net.predict(&read) {
            assert!(
                answer[..QUANTILES].is_sorted() && answer.iter().all(|value| value.is_finite()),
                "{answer:?}"
            );
            assert!(answer[QUANTILES] > 0.0);
        }
    }
}
