//! `storage.gcs` and `storage.azure`: refused, and read only for their mistakes, so that they are told together with
//! the refusal and not one day after it.

use crate::reader::Reader;
use crate::scalar::{self, Unfit};

/// Google takes the pieces of an upload in multiples of this.
const GCS_PIECE: u64 = 256 << 10;

/// How an azure container is logged in to: `credentials.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AzureLogin {
    SharedKey,
    ClientSecret,
    /// What the machine has.
    Default,
}

const AZURE_LOGINS: &[(&str, AzureLogin)] = &[
    ("shared_key", AzureLogin::SharedKey),
    ("client_secret", AzureLogin::ClientSecret),
    ("default_credentials", AzureLogin::Default),
];

const BUCKET: &str = "write the name of a bucket that exists";
const CONTAINER: &str = "write the name of a container that exists";
const ACCOUNT: &str = "write the storage account's name";

pub(crate) fn look_at_gcs(gcs: &mut Reader<'_>) {
    if gcs.text("bucket").is_none() {
        gcs.missing("bucket", BUCKET);
    }
    let _size: Option<u64> = gcs.read("chunksize", chunk);
    let _at_a_time: Option<u32> = gcs.read("maxconcurrency", scalar::count);
    if gcs.text("keyfile").is_some() && gcs.below("credentials").is_set() {
        let reason = "keyfile is used and these are not; write one of the two";
        gcs.mistake("credentials", reason);
    }
}

pub(crate) fn look_at_azure(azure: &mut Reader<'_>) {
    for (key, what_to_write) in [("accountname", ACCOUNT), ("container", CONTAINER)] {
        if azure.text(key).is_none() {
            azure.missing(key, what_to_write);
        }
    }
    let _url: Option<_> = azure.read("serviceurl", crate::url::parse);
    for key in ["max_retries", "copy_status_poll_max_retry"] {
        let _times: Option<u32> = azure.read(key, scalar::count);
    }
    for key in ["retry_delay", "copy_status_poll_delay"] {
        let _pause: Option<_> = azure.read(key, scalar::duration);
    }
    let _unverified: Option<bool> = azure.read("skipverify", scalar::boolean);
    let login = azure.read("credentials.type", |text| {
        scalar::one_of(text, AZURE_LOGINS)
    });
    if login == Some(AzureLogin::ClientSecret) {
        for key in ["clientid", "tenantid", "secret"] {
            let key = format!("credentials.{key}");
            if azure.text(&key).is_none() {
                azure.missing(&key, "a login by client_secret needs it");
            }
        }
    }
    let keys = [azure.text("accountkey"), azure.text("connectionstring")];
    if login == Some(AzureLogin::SharedKey) && keys.iter().all(Option::is_none) {
        azure.missing("accountkey", "a login by shared_key needs it");
    }
}

fn chunk(text: &str) -> Result<u64, Unfit> {
    match scalar::count::<u64>(text)? {
        size if size > 0 && size.is_multiple_of(GCS_PIECE) => Ok(size),
        _ => Err(Unfit::new(format!("must be a multiple of {GCS_PIECE}"))),
    }
}

#[cfg(test)]
mod tests {
    use crate::Config;

    fn mistakes(driver: &str) -> Vec<String> {
        let text = format!("version: 0.1\nstorage: {{{driver}}}\n");
        let told = Config::load(&text, []).unwrap_err();
        let lines = told.to_string();
        assert!(!lines.contains("hunter2"), "{lines}");
        let mut lines = lines.lines();
        let refusal = lines.next().unwrap_or_default();
        assert!(refusal.contains("is not supported by this version yet"));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn a_bucket_of_google_s_is_looked_at_though_it_is_refused() {
        assert_eq!(
            mistakes("gcs: {bucket: b, chunksize: 262144, keyfile: k}"),
            Vec::<String>::new()
        );
        let told = mistakes(
            "gcs: {buckte: b, chunksize: 1000, maxconcurrency: many, keyfile: k, credentials: {a: hunter2}}",
        );
        let expected = [
            "storage.gcs.bucket (line 2): is missing; write the name of a bucket that exists",
            "storage.gcs.chunksize (line 2): \"1000\" must be a multiple of 262144",
            "storage.gcs.maxconcurrency (line 2): \"many\" is not a whole number",
            "storage.gcs.credentials (line 2): keyfile is used and these are not; write one of the two",
            "warning: storage.gcs.buckte (line 2): ignoring a key that the configuration format does not have; \
             did you mean bucket?",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_container_of_azure_s_is_looked_at_though_it_is_refused() {
        let good = "azure: {accountname: a, container: c, credentials: {type: default_credentials}, \
                    max_retries: 5, retry_delay: 100ms}";
        assert_eq!(mistakes(good), Vec::<String>::new());
        let told = mistakes(
            "azure: {accountname: a, credentials: {type: client_secret, clientid: i, secret: hunter2}, \
             retry_delay: soon, serviceurl: blob, accountkey: [hunter2]}",
        );
        let expected = [
            "storage.azure.accountkey (line 2): a list stands here, where a single value belongs",
            "storage.azure.container (line 2): is missing; write the name of a container that exists",
            "storage.azure.serviceurl (line 2): \"blob\" is not a URL; write for example https://registry.example",
            "storage.azure.retry_delay (line 2): \"soon\" is not a duration; write for example 90s, 10m or 1h30m",
            "storage.azure.credentials.tenantid (line 2): is missing; a login by client_secret needs it",
        ];
        assert_eq!(told, expected);
        let told = mistakes(
            "azure: {accountname: a, container: c, credentials: {type: shared-key, secret: hunter2}}",
        );
        let expected = "storage.azure.credentials.type (line 2): \"shared-key\" is not one of shared_key, \
                        client_secret, default_credentials; did you mean shared_key?";
        assert_eq!(told, [expected]);
        let told =
            mistakes("azure: {accountname: a, container: c, credentials: {type: shared_key}}");
        let expected =
            "storage.azure.accountkey (line 2): is missing; a login by shared_key needs it";
        assert_eq!(told, [expected]);
    }
}
