package sqs

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/evosink/evosink/core/sink"
)

// urlLife is how long the address of an event in the bucket is good for, as in Evolution API; with temporary
// credentials it ends with them.
const urlLife = 7 * 24 * time.Hour

// offload puts an event into the bucket and returns the envelope that refers to it: "dataType":"s3", "data":{"fileUrl":...}. The
// address is given out only when the bucket has the event. Another attempt writes the same object again.
func (s *Sink) offload(ctx context.Context, d *sink.Delivery, m *message) ([]byte, error) {
	if s.s3 == nil {
		return nil, s.tooLarge(m)
	}
	e := d.Event
	key := fmt.Sprintf("evolution-api/messages/%s_%s_%d_%s.json", escape(e.Instance), escape(suffix(e.Name)), e.Time.UnixMilli(), digest(sink.Identity(e)))
	_, err := s.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.config.S3.Bucket, Key: &key, Body: bytes.NewReader([]byte(*m.entry.MessageBody)),
		ContentType: aws.String("application/json"), CacheControl: aws.String("no-store"),
	})
	if err != nil {
		return nil, failure(ctx, "put the event, which is too large for a message, into bucket "+s.config.S3.Bucket, err)
	}
	link, err := s3.NewPresignClient(s.s3).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &s.config.S3.Bucket, Key: &key}, s3.WithPresignExpires(urlLife))
	if err != nil {
		return nil, failure(ctx, "sign the address of the event in the bucket", err)
	}
	reference := *e
	reference.Data = append(append([]byte(`{"fileUrl":`), quote(link.URL)...), '}')
	return s.envelope(&reference, "s3"), nil
}
