package sqs

import (
	"context"
	"errors"
	"fmt"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/evosink/evosink/core/sink"
)

// Codes of SQS and S3 by what they say about an event. Those not here are tried again.
var (
	// denials: the key is good and may not do this.
	denials = set("AccessDenied", "AccessDeniedException", "KMS.AccessDeniedException", "KmsAccessDenied")
	// away: the service, or who we are to it, is the trouble, whatever the event.
	away = set("RequestThrottled", "ThrottlingException", "Throttling", "TooManyRequestsException", "OverLimit", "KMS.ThrottlingException", "KmsThrottled",
		"ServiceUnavailable", "InternalError", "InternalFailure", "InternalServerError", "SlowDown",
		"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException", "InvalidAccessKeyId",
		"ExpiredToken", "ExpiredTokenException", "MissingAuthenticationToken", "RequestExpired", "InvalidSecurity")
	// final: the event cannot be a message.
	final = set("InvalidMessageContents", "InvalidParameterValue", "EntityTooLarge")
)

func set(codes ...string) map[string]bool {
	m := make(map[string]bool, len(codes))
	for _, code := range codes {
		m[code] = true
	}
	return m
}

// failure says what it means that a request failed. step says what it was for.
func failure(ctx context.Context, step string, err error) error {
	var api smithy.APIError
	var answer *awshttp.ResponseError
	wrapped := fmt.Errorf("%s: %w", step, err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return wrapped
	case errors.As(err, &api):
		if errors.As(err, &answer) && answer.HTTPStatusCode() >= 500 {
			return sink.Unavailable(wrapped)
		}
		return judge(api.ErrorCode(), wrapped)
	}
	return sink.Unavailable(wrapped) // there was no answer, or there are no credentials
}

func judge(code string, err error) error {
	switch {
	case away[code]:
		return sink.Unavailable(err)
	case final[code]:
		return sink.Permanent(err)
	}
	return err
}
