//! What the driver does with a bucket.

use std::sync::Mutex;

use roadstead_s3::S3;
use roadstead_storage::Driver;
use roadstead_storage::contract::{self, Removed};

use crate::server::Seaweed;

/// More than the suite asks for.
const STORES: usize = 20;

pub(crate) async fn contract(seaweed: &Seaweed) {
    let mut drivers = Vec::new();
    for n in 0..STORES {
        drivers.push(seaweed.driver(&format!("contract/{n}")).await);
    }
    let drivers = Mutex::new(drivers);
    let make = || -> Box<dyn Driver> {
        let driver: S3 = drivers.lock().expect("not poisoned").pop().expect("enough");
        Box::new(driver)
    };
    contract::check_with(&make, Removed::MayBreak).await;
}
