package sdk_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/evosink/evosink/plugins/sdk"
)

// A plugin is a main function that calls [sdk.Main]; here it is fed by hand.
func Example() {
	var config struct{ Greeting string }
	plugin := sdk.Plugin{
		Config: &config, MaxInFlight: 1,
		Deliver: func(_ context.Context, d *sdk.Delivery) error {
			var message struct{ Text string }
			if err := d.DecodeData(&message); err != nil {
				return err
			}
			fmt.Println(config.Greeting, d.Instance, message.Text)
			return nil
		},
	}
	host := strings.NewReader(`{"type":"init","protocol":1,"config":{"greeting":"hello"}}
{"type":"event","id":"d-1","instance":"sales","event":"messages.upsert","data":{"text":"world"}}
{"type":"drain"}
`)
	if err := plugin.Serve(context.Background(), host, os.Stderr); err != nil {
		fmt.Println(err)
	}
	// Output: hello sales world
}

func ExamplePermanent() {
	deliver := func(status int) error {
		switch status {
		case 200:
			return nil
		case 410:
			return sdk.Permanent(fmt.Errorf("HTTP %d", status)) // a dead letter at once
		default:
			return fmt.Errorf("HTTP %d", status) // tried again
		}
	}
	fmt.Println(deliver(410))
	// Output: HTTP 410
}
