// Package sdk makes a Go program an evosink plugin: a sink that runs as its own process. It needs the standard library only.
//
//	func main() {
//		var config struct{ URL string }
//		sdk.Main(sdk.Plugin{
//			Config: &config,
//			Deliver: func(ctx context.Context, d *sdk.Delivery) error {
//				return post(ctx, config.URL, d.Data)
//			},
//		})
//	}
//
// evosink starts the program, hands it its configuration, and then events; nil from Deliver means that the event has arrived for good. Any error
// brings it again, later; [Permanent], [RetryAfter] and [Unavailable] say more. Events of one lane (target and instance) come one after the other,
// those of different lanes at once, up to Plugin.MaxInFlight. The same event can come twice, after a crash: d.Key is the same then.
//
// Standard output belongs to the protocol. [Main] makes os.Stdout another name of os.Stderr, whose lines evosink logs, so printing does no harm.
package sdk
