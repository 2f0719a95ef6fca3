//! What a person should look at when a storage service refuses or does not answer.

use super::{bucket::Service, explain::Access};

/// Where the cause is likely to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advice {
    /// The bucket is not there.
    Bucket,
    /// Who we say that we are.
    Credentials,
    /// What we may do.
    Permission,
    /// What time it is here.
    Clock,
    /// The service runs the bucket elsewhere.
    Region,
    /// Nobody answers.
    Endpoint,
    /// Who answers cannot show that it is whom we asked.
    Certificate,
    /// No credentials are set, and the machine itself, which was asked for some, has none.
    Machine,
}

impl Advice {
    /// In words, after a colon, with the names that `service` gives to things; `access` was wanted.
    pub(crate) fn words(self, service: Service, access: Access) -> String {
        let endpoint = service.endpoint_variable();
        match self {
            Self::Bucket => {
                let region = if service == Service::S3 { " and AWS_REGION" } else { "" };
                format!("make it, or check the name in checkpoint.storage, {endpoint}{region}; sluicegate makes no buckets")
            }
            Self::Credentials => format!("check {}", credentials(service)),
            Self::Permission => format!("these credentials need {}", right(service, access)),
            Self::Clock => "the service refuses what is signed with a wrong time: check the clock of this machine".to_owned(),
            Self::Region => match service {
                Service::S3 => format!("the bucket is in another region: check AWS_REGION, and {endpoint} if it is set"),
                _ => format!("the bucket is not at this address: check {endpoint}"),
            },
            Self::Endpoint => format!("check that the service is up, {endpoint}, name resolution, proxies and firewalls"),
            Self::Certificate => format!(
                "check {endpoint}, and that the authority which signed the server's certificate is known here: SSL_CERT_FILE names a \
                 file of such authorities"
            ),
            Self::Machine => {
                format!("no credentials are set, and this machine's own could not be had: set {}", credentials(service))
            }
        }
    }
}

fn credentials(service: Service) -> &'static str {
    match service {
        Service::S3 => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN if they are temporary",
        Service::Google => "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT, which name a file",
        Service::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or those of a service principal",
    }
}

fn right(service: Service, access: Access) -> &'static str {
    match (service, access) {
        // Whoever may not list is told "denied" of an object that is not there.
        (Service::S3, Access::Read) => "s3:GetObject on the objects and s3:ListBucket on the bucket",
        (Service::S3, Access::List) => "s3:ListBucket on the bucket",
        (Service::S3, Access::Write) => "s3:PutObject and s3:AbortMultipartUpload on the objects",
        (Service::S3, Access::Delete) => "s3:DeleteObject on the objects",
        (Service::Google, Access::Read) => "storage.objects.get and storage.objects.list",
        (Service::Google, Access::List) => "storage.objects.list",
        (Service::Google, Access::Write) => "storage.objects.create and storage.multipartUploads.*",
        (Service::Google, Access::Delete) => "storage.objects.delete",
        (Service::Azure, _) => "the role Storage Blob Data Contributor on the container",
    }
}
