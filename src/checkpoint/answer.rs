//! What a storage service says when it refuses: status, code and message, found in the text of an error.
//!
//! `object_store` keeps the answer to itself and shows it as text only: `... status code: 403 Forbidden: <?xml ...><Error><Code>
//! AccessDenied</Code><Message>Access Denied.</Message>...`. All three services answer with these elements.

use super::{advice::Advice, explain::Class};
use std::fmt;

/// Longest message of a service that is passed on: some answer with a whole page.
const LONGEST: usize = 300;

/// A service's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    status: Option<u16>,
    code: Option<String>,
    message: String,
}

impl Answer {
    /// The answer in the text of an error; none if the service did not say anything.
    pub(crate) fn in_text(text: &str) -> Option<Self> {
        let status = text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3)?.parse().ok());
        // The second form is that of one object in the answer to a request that deletes many.
        let code = between(text, "<Code>", "</Code>").or_else(|| between(text, "(code: ", ")"));
        if status.is_none() && code.is_none() {
            return None;
        }
        let body = || text.split_once("status code: ").and_then(|(_, rest)| Some(rest.get(3..)?.split_once(": ")?.1));
        let message = between(text, "<Message>", "</Message>").or_else(body).unwrap_or_default();
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect();
        Some(Self { status, code: code.map(str::to_owned), message })
    }

    /// What helps against it, and what the user can look at; none where the code does not say more than the status does.
    pub(crate) fn meaning(&self) -> Option<(Class, Option<Advice>)> {
        Some(match self.code.as_deref()? {
            "NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted" => (Class::NoBucket, Some(Advice::Bucket)),
            "RequestTimeTooSkewed" | "RequestExpired" => (Class::Denied, Some(Advice::Clock)),
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "AuthenticationFailed"
            | "InvalidAuthenticationInfo"
            | "NoAuthenticationInformation"
            | "InvalidClientTokenId" => (Class::Denied, Some(Advice::Credentials)),
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
                (Class::Wrong, Some(Advice::Region))
            }
            "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "QuotaExceeded" | "InsufficientStorage" => {
                (Class::Full, None)
            }
            // An upload in parts that the server has forgotten begins anew; two writers of one name are asked to come again.
            "NoSuchUpload"
            | "InvalidPart"
            | "ConditionalRequestConflict"
            | "OperationAborted"
            | "RequestTimeout"
            | "BadDigest"
            | "IncompleteBody"
            | "XAmzContentSHA256Mismatch"
            | "InternalError"
            | "SlowDown"
            | "ServerBusy" => (Class::Passing, None),
            _ => return None,
        })
    }

    /// The same out of the status alone, for the many codes that say no more.
    pub(crate) fn meaning_of_status(&self) -> Option<(Class, Option<Advice>)> {
        Some(match self.status? {
            300..=399 => (Class::Wrong, Some(Advice::Region)),
            401 | 403 => (Class::Denied, Some(Advice::Permission)),
            408 | 425 | 429 => (Class::Passing, None),
            507 => (Class::Full, None),
            // An object that is not there is an error of a kind of its own; this is something else that is not there.
            400..=499 | 501 => (Class::Wrong, None),
            500..=599 => (Class::Passing, None),
            _ => return None,
        })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.map(|status| status.to_string());
        let parts = [status.as_deref(), self.code.as_deref(), Some(self.message.as_str()).filter(|said| !said.is_empty())];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(begin)?.1.split_once(end)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENIED: &str = "The operation lacked the necessary privileges to complete for path a: Error performing PUT \
        http://127.0.0.1:9000/shop/a in 4ms - Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?>\n<Error>\
        <Code>InvalidAccessKeyId</Code><Message>The key you provided\n does not exist.</Message><Key>a</Key></Error>";

    #[test]
    fn status_code_and_message_are_found() {
        let answer = Answer::in_text(DENIED).unwrap();
        assert_eq!(answer.to_string(), "403, InvalidAccessKeyId, The key you provided does not exist.");
        assert_eq!(answer.meaning(), Some((Class::Denied, Some(Advice::Credentials))));
        let one_of_many = Answer::in_text("DeleteObjects request failed for key a: Access Denied. (code: AccessDenied)").unwrap();
        assert_eq!(one_of_many.to_string(), "AccessDenied");
        let page = Answer::in_text("Server returned non-2xx status code: 502 Bad Gateway: <html>\n<h1>sorry</h1>").unwrap();
        assert_eq!(page.to_string(), "502, <html> <h1>sorry</h1>");
        assert_eq!(page.meaning_of_status(), Some((Class::Passing, None)));
        assert_eq!(Answer::in_text("HTTP error: connection refused"), None);
    }

    #[test]
    fn a_conflict_and_a_forgotten_upload_are_tried_again_and_a_missing_bucket_is_no_missing_object() {
        let meaning = |status: u16, code: &str| {
            let text = format!("Server returned non-2xx status code: {status} X: <Error><Code>{code}</Code></Error>");
            let answer = Answer::in_text(&text).unwrap();
            answer.meaning().or_else(|| answer.meaning_of_status()).unwrap().0
        };
        assert_eq!(meaning(409, "ConditionalRequestConflict"), Class::Passing);
        assert_eq!(meaning(404, "NoSuchUpload"), Class::Passing);
        assert_eq!(meaning(404, "NoSuchTagSet"), Class::Wrong);
        assert_eq!(meaning(404, "NoSuchBucket"), Class::NoBucket);
        assert_eq!(meaning(403, "AccessDenied"), Class::Denied);
        assert_eq!(meaning(400, "ExpiredToken"), Class::Denied);
        assert_eq!(meaning(400, "EntityTooSmall"), Class::Wrong);
        assert_eq!(meaning(507, "XMinioStorageFull"), Class::Full);
        assert_eq!(meaning(503, "SlowDown"), Class::Passing);
    }
}
