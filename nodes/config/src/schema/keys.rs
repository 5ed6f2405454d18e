//! The table of keys: configuration format 0.1 as the second and third release of the reference read it, and
//! Roadstead's own keys (`access`, `proxies`, `probes`, `limits`, `cluster`, `metadata`, `gateway`, `gc`).
//!
//! To make a setting work: change its line here to `used`, and read it in the room it belongs to.

use super::{Row, Status};

const PROXY: &str =
    "mirroring another registry is not supported by this version yet; refusing to serve without it";
const OBJECTS: &str = "this storage driver is not supported by this version yet; write filesystem or s3, and \
     copy what lies under docker/registry/v2 there";

pub(super) const KEYS: &[Row] = &[
    used("version"),
    // Logging.
    used("loglevel"),
    used("log.{level,formatter,fields.*,accesslog.disabled,reportcaller}"),
    used("log.hooks[].{type,disabled,levels[],options.from,options.to[]}"),
    used("log.hooks[].options.smtp.{addr,username,insecure}"),
    used("log.hooks[].options.smtp.password").secret(),
    // Storage: one driver, and options that stand beside it.
    kinds("storage", "storage driver or option of storage"),
    used("storage.filesystem.{rootdirectory,maxthreads}"),
    used("storage.inmemory.**"),
    used("storage.delete.enabled"),
    used("storage.redirect.disable"),
    used("storage.tag.concurrencylimit"),
    used("storage.maintenance.readonly.enabled"),
    used("storage.maintenance.uploadpurging.{enabled,age,interval,dryrun}"),
    used("storage.cache.{blobdescriptor,blobdescriptorsize,layerinfo}"),
    refused("storage.{gcs,azure,swift,oss}", OBJECTS),
    used(
        "storage.s3.{region,regionendpoint,forcepathstyle,bucket,encrypt,keyid,secure,skipverify,v4auth}",
    ),
    used("storage.s3.{chunksize,rootdirectory,storageclass,objectacl,useragent,redirectendpoint}"),
    used(
        "storage.s3.{multipartcopychunksize,multipartcopymaxconcurrency,multipartcopythresholdsize}",
    ),
    used("storage.s3.{usedualstack,accelerate,usefipsendpoint}"),
    used("storage.s3.{accesskey,secretkey,sessiontoken}").secret(),
    not_yet("storage.s3.loglevel"),
    not_yet("storage.gcs.{bucket,rootdirectory,keyfile,chunksize,maxconcurrency,useragent}"),
    not_yet("storage.gcs.credentials.**").secret(),
    not_yet("storage.azure.{accountname,container,realm,serviceurl,rootdirectory}"),
    not_yet("storage.azure.{max_retries,retry_delay,skipverify}"),
    // Of releases before 3.1.
    not_yet("storage.azure.{copy_status_poll_max_retry,copy_status_poll_delay}"),
    not_yet("storage.azure.{accountkey,connectionstring,credentials.secret}").secret(),
    not_yet("storage.azure.credentials.{type,clientid,tenantid}"),
    not_yet("storage.swift.**").secret(),
    not_yet("storage.oss.**").secret(),
    // Who may do what.
    kinds("auth", "access controller"),
    used("auth.none.**"),
    used("auth.silly.{realm,service}"),
    used("auth.htpasswd.{realm,path}"),
    used("auth.token.{realm,service,issuer,rootcertbundle,jwks,signingalgorithms[]}"),
    used("auth.token.{autoredirect,autoredirectpath}"),
    not_yet("middleware.registry[].{name,disabled,options.**}"),
    not_yet("middleware.repository[].{name,disabled,options.**}"),
    not_yet("middleware.storage[].{name,disabled}"),
    not_yet("middleware.storage[].options.{baseurl,privatekey,keypairid,duration,ipfilteredby}"),
    not_yet(
        "middleware.storage[].options.{awsregion,updatefrequency,updatefrenquency,iprangesurl}",
    ),
    not_yet("middleware.storage[].options.{scheme,host,trimpathprefix}"),
    not_yet("policy.repository.classes[]"),
    // The HTTP server.
    used(
        "http.{addr,net,host,prefix,relativeurls,draintimeout,headers.*[],http2.disabled,h2c.enabled}",
    ),
    used("http.secret").secret(),
    used("http.debug.{addr,prometheus.enabled,prometheus.path}"),
    used("http.tls.{certificate,key,clientcas[],clientauth,minimumtls,ciphersuites[]}"),
    used("http.tls.letsencrypt.{cachefile,email,hosts[],directoryurl}"),
    // Roadstead's own.
    used("http.tls.letsencrypt.{directoryca,challenge,challengeaddr,eab.keyid}"),
    used("http.tls.letsencrypt.{encryptionkey,eab.key}").secret(),
    // Other parties.
    used("notifications.events.includereferences"),
    used("notifications.endpoints[].{name,disabled,url,timeout,threshold,backoff}"),
    used("notifications.endpoints[].headers.*[]").secret(),
    used("notifications.endpoints[].{ignoredmediatypes[],ignore.mediatypes[],ignore.actions[]}"),
    used("redis.{addr,addrs[],clientname,db,protocol,username,sentinelusername,mastername}"),
    used("redis.{password,sentinelpassword}").secret(),
    used("redis.{maxretries,minretrybackoff,maxretrybackoff,maxredirects}"),
    used("redis.{dialtimeout,readtimeout,writetimeout,contexttimeoutenabled}"),
    used("redis.{poolfifo,poolsize,pooltimeout,minidleconns,maxidleconns,maxactiveconns}"),
    used("redis.{connmaxidletime,connmaxlifetime,readonly,routebylatency,routerandomly}"),
    used("redis.{disableidentity,disableindentity,identitysuffix,unstableresp3}"),
    used("redis.tls.{enabled,certificate,key,rootcas[],clientcas[]}"),
    used("redis.pool.{maxidle,maxactive,idletimeout}"),
    refused("proxy.remoteurl", PROXY),
    not_yet("proxy.{username,exec.command,exec.lifetime,ttl,cachewritetimeout}"),
    not_yet("proxy.password").secret(),
    not_yet("reporting.bugsnag.{releasestage,endpoint}"),
    not_yet("reporting.newrelic.{name,verbose}"),
    not_yet("reporting.{bugsnag.apikey,newrelic.licensekey}").secret(),
    // Health and limits.
    used("health.storagedriver.{enabled,interval,threshold}"),
    used("health.file[].{file,interval,threshold}"),
    used("health.http[].{uri,statuscode,timeout,interval,threshold}"),
    used("health.http[].headers.*[]").secret(),
    used("health.tcp[].{addr,timeout,interval,threshold}"),
    used("catalog.maxentries"),
    used("tags.maxtags"),
    used("validation.{enabled,disabled}"),
    used("validation.manifests.urls.{allow[],deny[]}"),
    used("validation.manifests.indexes.{platforms,platformlist[].architecture,platformlist[].os}"),
    not_yet("compatibility.schema1.{signingkeyfile,enabled}"),
    // Roadstead's own.
    used("access.groups.*[]"),
    used("access.rules[].{repositories[],users[],groups[],anonymous,actions[]}"),
    used("proxies.trusted[]"),
    used("probes.{root,requests}"),
    used("limits.{manifestsize,bodyidle}"),
    used("cluster.{metadata[],advertise}"),
    used("cluster.secret").secret(),
    used("cluster.tls.{certificate,key,ca}"),
    used("metadata.{id,addr,dir,peers.*,debug.addr}"),
    used("gateway.{addr,redirect.addr,debug.addr,upstreams[],upstreamhttp2,resolve,refuseancient}"),
    used("gateway.tls.{certificate,key,clientcas[],clientauth,minimumtls,ciphersuites[]}"),
    used("gateway.tls.more[].{certificate,key}"),
    used("gateway.tls.letsencrypt.{cachefile,email,hosts[],directoryurl}"),
    // Roadstead's own.
    used("gateway.tls.letsencrypt.{directoryca,challenge,challengeaddr,eab.keyid}"),
    used("gateway.tls.letsencrypt.{encryptionkey,eab.key}").secret(),
    used("gateway.upstreamtls.{ca,certificate,key,name}"),
    used("gateway.proxyprotocol.{accept,send}"),
    used("gateway.health.{expect,interval,timeout,rise,fall,slowstart}"),
    used("gateway.timeouts.{connect,answer,commit,idle,patience,lameduck,drain}"),
    used("gateway.retries.{tries,percent,reserve}"),
    used("gateway.limits.{connections,requests,pernode,chunk,memory}"),
    used("gc.{interval,grace,window,untagged,requests,bytes}"),
];

/// Under the first key, the second name has all the settings of the third.
pub(super) const ALIASES: &[(&str, &str, &str)] = &[("storage", "s3aws", "s3")];

/// Names of fields that a variable may use where the file has another: `#` is a list's index, and a field without
/// a name in the file is left out of the path.
const FIELD_NAMES: &[(&str, &str, Option<&str>)] = &[
    ("notifications", "eventconfig", Some("events")),
    ("health", "filecheckers", Some("file")),
    ("health", "httpcheckers", Some("http")),
    ("health", "tcpcheckers", Some("tcp")),
    ("log.hooks.#", "mailoptions", Some("options")),
    ("compatibility.schema1", "trustkey", Some("signingkeyfile")),
    // Releases before 3.1 wanted REGISTRY_REDIS_OPTIONS_ADDRS, later ones REGISTRY_REDIS_ADDRS.
    ("redis", "options", None),
];

/// The path of keys that a variable's path of field names means; both in lower case.
pub(crate) fn wanted_key(fields: &[&str]) -> Vec<String> {
    let mut key: Vec<String> = Vec::with_capacity(fields.len());
    for field in fields {
        let parent: Vec<&str> = key.iter().map(|name| index_as_hash(name)).collect();
        let parent = parent.join(".");
        let renamed = FIELD_NAMES
            .iter()
            .find(|(at, from, _)| *at == parent && from == field);
        match renamed {
            Some((.., Some(name))) => key.push((*name).to_owned()),
            Some((.., None)) => {}
            None => key.push((*field).to_owned()),
        }
    }
    key
}

/// The variable that sets a key.
pub(crate) fn environment_name(key: &[String]) -> String {
    format!("REGISTRY_{}", key.join("_").to_uppercase())
}

fn index_as_hash(name: &str) -> &str {
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        "#"
    } else {
        name
    }
}

const fn row(pattern: &'static str, status: Status) -> Row {
    Row {
        pattern,
        status,
        secret: false,
    }
}

const fn used(pattern: &'static str) -> Row {
    row(pattern, Status::Used)
}

const fn not_yet(pattern: &'static str) -> Row {
    row(pattern, Status::NotYet)
}

const fn refused(pattern: &'static str, reason: &'static str) -> Row {
    row(pattern, Status::Refused(reason))
}

const fn kinds(pattern: &'static str, sort: &'static str) -> Row {
    row(pattern, Status::Kinds(sort))
}

impl Row {
    /// The value is never shown.
    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}
