package sqs

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
)

// loadAWS reads what AWS's own variables and files say, for whatever c leaves open. It asks nothing over the network: roles are looked up
// with the first request.
func (c *Config) loadAWS() (aws.Config, error) {
	var opts []func(*awsconfig.LoadOptions) error
	if c.Region != "" {
		opts = append(opts, awsconfig.WithRegion(c.Region))
	}
	if c.AccessKeyID != "" {
		opts = append(opts, awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)))
	}
	out, err := awsconfig.LoadDefaultConfig(context.Background(), opts...)
	if err != nil {
		return out, fmt.Errorf("read the configuration of AWS: %w", err)
	}
	if out.Region == "" {
		if c.Endpoint == "" {
			return out, errors.New("region is missing: set it to that of the queues, like sa-east-1 (SQS_REGION)")
		}
		out.Region = "us-east-1" // signs requests to services that have none
	}
	return out, nil
}

// ownTransport gives a configuration a transport that can be closed: the SDK's, with what AWS_CA_BUNDLE adds to it.
func ownTransport(from *aws.Config) *http.Transport {
	client, ok := from.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		client = awshttp.NewBuildableClient()
	}
	t := client.GetTransport()
	t.MaxIdleConnsPerHost = 32
	from.HTTPClient = &http.Client{
		Transport:     noSwitch{t},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // signatures are for one host
	}
	return t
}

// noSwitch makes an error of the answer 101. net/http hands over the connection with it, and reading that ends neither
// with the request's context nor with the transport.
type noSwitch struct{ http.RoundTripper }

func (t noSwitch) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.RoundTripper.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusSwitchingProtocols {
		_ = res.Body.Close()
		return nil, errors.New("answered 101 Switching Protocols, which nothing asked for")
	}
	return res, err
}

func (c *Config) newSQS(from aws.Config) *awssqs.Client {
	return awssqs.NewFromConfig(from, func(o *awssqs.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint = &c.Endpoint
		}
	})
}

func (c *Config) newS3(from aws.Config) *s3.Client {
	return s3.NewFromConfig(from, func(o *s3.Options) {
		if c.S3.Region != "" {
			o.Region = c.S3.Region
		}
		if c.S3.AccessKey != "" {
			o.Credentials = credentials.NewStaticCredentialsProvider(c.S3.AccessKey, c.S3.SecretKey, "")
		}
		if u := c.S3.url(); u != "" {
			o.BaseEndpoint, o.UsePathStyle = &u, true
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired // others than AWS do not know them all
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
	})
}
