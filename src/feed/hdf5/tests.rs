use super::*;
use crate::tensor::Tensor;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hdf5")
}

fn rows(tops: &[&str], shuffle: Option<(u64, u64)>) -> Result<Rows> {
    let tops: Vec<String> = tops.iter().map(|&t| t.to_owned()).collect();
    Rows::open(&fixtures(), "rows.txt", &tops, shuffle)
}

/// Labels of the next `count` rows; their data belongs to them.
fn take(rows: &mut Rows, count: usize) -> Vec<f32> {
    let mut tops = vec![Vec::new(), Vec::new()];
    rows.read(count, &mut tops).unwrap();
    for (data, label) in tops[0].chunks(6).zip(&tops[1]) {
        assert_eq!(data, [*label, 0.0, 1.0, 2.0, 3.0, 4.0]);
    }
    tops[1].clone()
}

#[test]
fn files_follow_each_other_and_start_again() {
    let mut rows = rows(&["data", "label"], None).unwrap();
    assert_eq!(rows.shapes(), [Shape::from([2, 3]), Shape::from([])]);
    assert_eq!(take(&mut rows, 4), [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(take(&mut rows, 4), [4.0, 5.0, 6.0, 7.0]);
    assert_eq!(take(&mut rows, 2), [0.0, 1.0]);
    assert_eq!(rows.position(), 10);
    rows.seek(23);
    assert_eq!(take(&mut rows, 3), [7.0, 0.0, 1.0]);
    // More than a pass at once.
    rows.seek(7);
    assert_eq!(
        take(&mut rows, 10)[..9],
        [7.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    );
}

#[test]
fn a_shuffled_pass_has_every_row_once_and_another_order_each_time() {
    let open = |seed| rows(&["data", "label"], Some((seed, 3))).unwrap();
    let mut rows = open(1);
    let passes: Vec<Vec<f32>> = (0..6).map(|_| take(&mut rows, 8)).collect();
    for pass in &passes {
        let mut sorted = pass.clone();
        sorted.sort_by(f32::total_cmp);
        assert_eq!(sorted, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        // The rows of a file stay together.
        let second: Vec<bool> = pass.iter().map(|&row| row > 4.0).collect();
        let changes = second.windows(2).filter(|w| w[0] != w[1]).count();
        assert_eq!(changes, 1, "{pass:?}");
    }
    assert!(passes.iter().any(|p| p[0] > 4.0) && passes.iter().any(|p| p[0] < 5.0));
    assert_ne!(passes[0], passes[1]);
    assert_ne!(take(&mut open(2), 8), passes[0]);
    // The order depends on the position only.
    let mut rows = open(1);
    rows.seek(19);
    assert_eq!(take(&mut rows, 5), passes[2][3..]);
    assert_eq!(take(&mut rows, 8), passes[3]);
}

#[test]
fn any_number_of_axes() {
    let mut rows = rows(&["five"], None).unwrap();
    assert_eq!(rows.shapes(), [Shape::from([1, 1, 1, 1])]);
    let mut tops = vec![Vec::new()];
    rows.read(6, &mut tops).unwrap();
    assert_eq!(tops[0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
}

#[test]
fn errors() {
    let error = |e: Result<Rows>| e.err().unwrap().to_string();
    let text = error(rows(&["data", "lable"], None));
    for part in ["no dataset 'lable'", "data, five, label", "rows_0.h5"] {
        assert!(text.contains(part), "{text}");
    }
    let dir = tempfile::tempdir().unwrap();
    let open = |list: &str, tops: &[&str]| {
        fs::write(dir.path().join("list"), list).unwrap();
        let tops: Vec<String> = tops.iter().map(|&t| t.to_owned()).collect();
        error(Rows::open(dir.path(), "list", &tops, None))
    };
    let there = |name: &str| fixtures().join(name).display().to_string();
    assert!(open("", &["x"]).contains("have no rows"));
    assert!(open("none.h5", &["x"]).contains("none.h5"));
    assert!(open(&there("make.py"), &["x"]).contains("signature"));
    assert!(open(&there("early.h5"), &["scalar"]).contains("at least 1 axis"));
    assert!(open(&there("early.h5"), &["compact", "five_axes", "types/f4"]).contains("3 rows"));
    assert!(open(&there("early.h5"), &["no_rows"]).contains("no rows"));
    let two = format!("{}\n{}", there("rows_0.h5"), there("userblock.h5"));
    assert!(open(&two, &["data"]).contains("userblock.h5"));
    let two = format!("{}\n{}", there("early.h5"), there("net.solverstate.h5"));
    assert!(open(&two, &["types/f4"]).contains("no dataset"));
    let list = Rows::open(&fixtures(), "rows_0.h5", &["data".into()], None);
    assert!(error(list).contains("an HDF5 file itself"));
    let none = Rows::open(&fixtures(), "no.txt", &["data".into()], None);
    assert!(error(none).contains("a list of .h5 files"));
}

#[test]
fn batches_become_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = RowWriter::create(dir.path(), "out.h5").unwrap();
    let read = |name: &str| {
        let file = File::open(&dir.path().join("out.h5")).unwrap();
        let dataset = file.dataset(name).unwrap().unwrap();
        (dataset.shape().dims().to_vec(), dataset.read().unwrap())
    };
    let batch = |first: f32| {
        (
            Tensor::new([2, 1, 2], vec![first, 1.0, 2.0, 3.0]).unwrap(),
            Tensor::new([2], vec![first; 2]).unwrap(),
        )
    };
    for n in 0..3u8 {
        let (data, label) = batch(f32::from(n));
        writer.add(data.view(), label.view()).unwrap();
        if n == 0 {
            assert_eq!(read("data"), (vec![2, 1, 2], vec![0.0, 1.0, 2.0, 3.0]));
        }
    }
    let (data, _) = batch(0.0);
    let error = writer.add(data.view(), data.view()).unwrap_err();
    assert!(error.to_string().contains("out.h5"), "{error}");
    assert_eq!(read("label").0, [4]);
    drop(writer);
    assert_eq!(read("label"), (vec![6], vec![0.0, 0.0, 1.0, 1.0, 2.0, 2.0]));
    let names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 1);
    assert!(RowWriter::create(dir.path(), "no/out.h5").is_err());
}
