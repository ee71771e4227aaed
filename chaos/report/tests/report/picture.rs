//! How the page looks and runs in a browser: headless Chromium, which `scripts/setup` installs.
//!
//! Pictures are compared as a person would from afar: scaled down, with a limit on how much the
//! whole and each part of it may differ. `UPDATE_GOLDENFILES=1` keeps a new one; look at it first.

use std::{fs, path::Path, process::Command};

use pgraft_judge::history::What;
use pgraft_report::{Page, render};
use tempfile::TempDir;

use crate::{sample, structure};

const WIDTH: usize = 1_280;
const HEIGHT: usize = 1_900;
/// Height of the window: on a busy machine Chromium leaves its last hundred rows blank, as if it
/// had a frame, so they are kept off what is compared.
const WINDOW_HEIGHT: usize = HEIGHT + 300;
/// Pixels of the large picture per pixel of the small one, each way.
const SCALE: usize = 10;
/// Pixels of the small picture per tile, each way.
const TILE: usize = 16;
/// Mean difference of all pixels that is still the same picture; 1: black against white.
const MEAN_MAX: f64 = 0.01;
/// Mean difference within any tile that is still the same picture.
const TILE_MAX: f64 = 0.06;

/// A page in a browser of its own, with nothing of the user's and only the fonts that every
/// machine has.
struct Browser {
    folder: TempDir,
}

impl Browser {
    fn with(html: &str) -> Browser {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("page.html"), html).expect("writes");
        let fonts = format!(
            "<fontconfig><dir>/usr/share/fonts/truetype/dejavu</dir><cachedir>{}</cachedir>\
             <include>/etc/fonts/conf.d</include></fontconfig>",
            folder.path().join("fonts").display()
        );
        fs::write(folder.path().join("fonts.conf"), fonts).expect("writes");
        Browser { folder }
    }

    /// What Chromium prints with these arguments.
    fn run(&self, arguments: &[&str]) -> String {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let output = Command::new("timeout")
            .args(["120", "chromium", "--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-quic", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--hide-scrollbars"])
            .args(["--force-device-scale-factor=1", "--virtual-time-budget=5000"])
            .arg(format!("--window-size={WIDTH},{WINDOW_HEIGHT}"))
            .arg(format!("--user-data-dir={}", at("profile")))
            .args(arguments)
            .arg(format!("file://{}", at("page.html")))
            .env("FONTCONFIG_FILE", at("fonts.conf"))
            .output()
            .expect("timeout is part of coreutils");
        assert_ne!(
            output.status.code(),
            Some(127),
            "chromium is not installed, so nobody knows how the page looks: run scripts/setup"
        );
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "chromium failed: {told}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// What the page's script says about itself: the attributes of the root element.
    fn state(&self) -> String {
        let dom = self.run(&["--dump-dom"]);
        let (_, rest) = dom.split_once("<html ").expect("a page");
        rest.split_once('>').expect("an element").0.to_owned()
    }

    /// The page as PNG.
    fn screenshot(&self, arguments: &[&str]) -> Vec<u8> {
        let file = self.folder.path().join("page.png");
        let screenshot = format!("--screenshot={}", file.display());
        self.run(&[&[screenshot.as_str()], arguments].concat());
        fs::read(&file).expect("a picture")
    }
}

/// A picture scaled down: red, green and blue from 0 to 1 per pixel, row by row.
struct Small(Vec<[f64; 3]>);

const SMALL_WIDTH: usize = WIDTH / SCALE;
const SMALL_HEIGHT: usize = HEIGHT / SCALE;

impl Small {
    fn of(bytes: &[u8]) -> Small {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut pixels).expect("a picture");
        assert_eq!((info.width as usize, info.height as usize), (WIDTH, WINDOW_HEIGHT));
        let samples = info.color_type.samples();
        let share = 1.0 / (255.0 * (SCALE * SCALE) as f64);
        let mut small = vec![[0.0; 3]; SMALL_WIDTH * SMALL_HEIGHT];
        for (place, pixel) in pixels.chunks(samples).take(WIDTH * HEIGHT).enumerate() {
            let (x, y) = (place % WIDTH / SCALE, place / WIDTH / SCALE);
            for (sum, value) in small[y * SMALL_WIDTH + x].iter_mut().zip(pixel) {
                *sum += f64::from(*value) * share;
            }
        }
        Small(small)
    }

    /// One colour all over.
    fn blank(colour: [f64; 3]) -> Small {
        Small(vec![colour; SMALL_WIDTH * SMALL_HEIGHT])
    }

    /// Mean difference of the whole, and of the tile that differs most.
    fn difference(&self, other: &Small) -> (f64, f64) {
        let across = SMALL_WIDTH.div_ceil(TILE);
        let mut tiles = vec![(0.0, 0.0); across * SMALL_HEIGHT.div_ceil(TILE)];
        for (place, (one, two)) in self.0.iter().zip(&other.0).enumerate() {
            let (x, y) = (place % SMALL_WIDTH / TILE, place / SMALL_WIDTH / TILE);
            let tile: &mut (f64, f64) = &mut tiles[y * across + x];
            tile.0 += one.iter().zip(two).map(|(a, b)| (a - b).abs()).sum::<f64>() / 3.0;
            tile.1 += 1.0;
        }
        let mean = tiles.iter().map(|tile| tile.0).sum::<f64>() / self.0.len() as f64;
        (mean, tiles.iter().map(|(sum, pixels)| sum / pixels).fold(0.0, f64::max))
    }

    fn looks_like(&self, other: &Small) -> bool {
        let (mean, worst) = self.difference(other);
        mean < MEAN_MAX && worst < TILE_MAX
    }

    /// From 0 for black to 1 for white.
    fn brightness(&self) -> f64 {
        self.0.iter().flatten().sum::<f64>() / (3 * self.0.len()) as f64
    }
}

fn sample_page() -> String {
    let history = sample::kept();
    render(&sample::page(&history))
}

#[test]
fn looks_like_the_kept_picture() {
    let picture = Browser::with(&sample_page()).screenshot(&[]);
    let file = sample::beside("sample.png");
    if sample::rewrites() {
        fs::write(&file, &picture).expect("writes");
    }
    let kept = fs::read(&file).expect("a kept picture");
    let (seen, kept) = (Small::of(&picture), Small::of(&kept));
    let (mean, worst) = seen.difference(&kept);
    println!("differs by {mean:.5} in the mean and by {worst:.5} in the worst tile");
    if !seen.looks_like(&kept) {
        let now = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report-now.png");
        fs::write(&now, &picture).expect("writes");
        panic!(
            "differs by {mean:.4} and {worst:.4}; compare {} with {}",
            now.display(),
            file.display()
        );
    }
}

/// Canary: neither a blank page, nor one whose script never ran, nor one that shows another part
/// of the run looks like the kept picture.
#[test]
fn canary_another_picture_is_noticed() {
    let kept = Small::of(&fs::read(sample::beside("sample.png")).expect("a kept picture"));
    assert!(!Small::blank([1.0; 3]).looks_like(&kept), "{:?}", kept.difference(&kept));
    let silent = sample_page().replace("\"use strict\";", "return;");
    let history = sample::kept();
    let mut elsewhere = sample::page(&history);
    elsewhere.offending.clear();
    for html in [silent, render(&elsewhere)] {
        let seen = Small::of(&Browser::with(&html).screenshot(&[]));
        println!("differs by {:?}", seen.difference(&kept));
        assert!(!seen.looks_like(&kept));
    }
}

#[test]
fn is_dark_where_people_like_it_dark() {
    let browser = Browser::with(&sample_page());
    let light = Small::of(&browser.screenshot(&[])).brightness();
    let dark = browser.screenshot(&["--blink-settings=preferredColorScheme=0"]);
    let dark = Small::of(&dark).brightness();
    assert!(light > 0.85 && dark < 0.25, "light {light:.2}, dark {dark:.2}");
}

#[test]
fn script_runs_without_an_error() {
    let (hostile, page) = structure::hostile();
    let hostile = render(&Page { history: &hostile, ..page });
    let huge = structure::many(30_000, 20);
    let mut failing = structure::bare(&huge);
    failing.offending = vec![15_000];
    let crowd = structure::many(2_000, 500);
    let all = sample::kept();
    let all = all.iter().filter(|event| matches!(event.what, What::Invoke(_))).count();
    let all = format!("data-operations=\"{all}\"");
    for (html, expected) in [
        (sample_page(), [all.as_str(), "data-offending=\"2\""]),
        (hostile, ["data-offending=\"2\"", all.as_str()]),
        (render(&structure::bare(&[])), ["data-operations=\"0\"", "data-drawn=\"0\""]),
        (render(&failing), ["data-operations=\"20000\"", "data-offending=\"1\""]),
        (render(&structure::bare(&huge)), ["data-operations=\"20000\"", "data-offending=\"0\""]),
        (render(&structure::bare(&crowd)), ["data-offending=\"0\"", "data-state"]),
    ] {
        let state = Browser::with(&html).state();
        assert!(state.contains("data-state=\"drawn\""), "{state}");
        assert!(expected.iter().all(|part| state.contains(part)), "{expected:?} in {state}");
        assert!(!state.contains("broken"), "a text became a program: {state}");
    }
}

/// What a person does with mouse and keyboard, and what must come of it, as a program in the page.
const HANDS: &str = r#"<script>
const root = document.documentElement;
const at = (name) => document.getElementById(name);
const tried = [];
const expect = (what, holds) => { if (!holds) tried.push(what); };
const soon = () => new Promise((resolve) => setTimeout(resolve, 50));
const press = (key) => at("detail").dispatchEvent(new KeyboardEvent("keydown", { key }));
(async () => {
  const first = at("shown").textContent;
  const readout = at("readout").textContent;
  expect("opens on the finding", readout.includes("proves the failure"));
  for (const name of ["to-all", "closer", "left", "right", "wider", "to-failure"]) {
    const before = at("shown").textContent;
    at(name).click();
    await soon();
    expect(`${name} moves`, at("shown").textContent !== before);
  }
  expect("back at the failure", at("shown").textContent === first);
  for (const key of ["ArrowLeft", "ArrowDown", "ArrowUp", "ArrowRight"]) {
    const before = at("readout").textContent;
    press(key);
    await soon();
    expect(`${key} selects another`, at("readout").textContent !== before);
  }
  for (const key of ["+", "-", "PageDown", "0", "Home"]) { press(key); await soon(); }
  expect("Home is the failing window", at("shown").textContent === first);
  at("previous").click();
  await soon();
  document.querySelectorAll("button.look")[1].click();
  await soon();
  expect("a look selects", at("readout").textContent.includes("proves the failure"));
  const box = at("detail").getBoundingClientRect();
  let found = false;
  for (let y = 100; y < box.height && !found; y += 4) {
    for (let x = 120; x < box.width && !found; x += 4) {
      const mouse = { clientX: box.left + x, clientY: box.top + y };
      at("detail").dispatchEvent(new PointerEvent("pointermove", mouse));
      found = !at("tip").hidden;
    }
  }
  expect("the mouse finds an operation", found && at("tip").textContent.includes("client"));
  const mouse = { clientX: box.left + 300, ctrlKey: true, deltaY: -100, cancelable: true };
  const before = at("shown").textContent;
  at("detail").dispatchEvent(new WheelEvent("wheel", mouse));
  await soon();
  expect("the wheel zooms", at("shown").textContent !== before);
  root.dataset.tried = tried.length === 0 ? "everything" : tried.join(", ");
})();
</script></body>"#;

#[test]
fn mouse_and_keyboard_do_what_the_page_says() {
    // A browser without a screen has no reason to ask for a frame.
    let timer = "\"use strict\";\nwindow.requestAnimationFrame = (draw) => setTimeout(draw, 1);";
    let html = sample_page().replacen("\"use strict\";", timer, 1).replace("</body>", HANDS);
    let state = Browser::with(&html).state();
    assert!(state.contains("data-state=\"drawn\""), "{state}");
    assert!(state.contains("data-tried=\"everything\""), "{state}");
}

/// Canary: an error in the script is seen.
#[test]
fn canary_an_error_in_the_script_is_seen() {
    let broken = sample_page().replace("\"standings\":", "\"no standings\":");
    let state = Browser::with(&broken).state();
    assert!(state.contains("data-state=\"failed: "), "{state}");
}
