package httpapi_test

import (
	"fmt"
	"testing"

	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
)

func TestErasingIsTheOperatorsAndCanBeAskedAgain(t *testing.T) {
	r := newRig(t)
	r.bury(t, 3) // of sales
	sales, _ := r.registry.Get("sales")
	r.do("DELETE", "/instance/delete/sales?erase=true", "", "apikey", salesKey).says(t, 401)
	for _, query := range []string{"erase=false", "erase=yes", "erase", "erase=true&all=true", "erase=true&erase=true"} {
		r.admin("DELETE", "/instance/delete/sales?"+query, "").says(t, 400)
	}
	if _, ok := r.registry.Get("sales"); !ok {
		t.Fatal("a refused request has deleted the instance")
	}
	erased := func(id string, events, letters int) string {
		if id != "" {
			id = `"instanceId":"` + id + `",`
		}
		return fmt.Sprintf(`{"erased":{%s"events":%d,"deliveries":0,"deadLetters":%d,"attempts":%d,"pauses":0,"left":false},"error":false,"response":{"message":"Instance erased"},"status":"SUCCESS"}`,
			id, events, letters, letters)
	}
	r.admin("DELETE", "/instance/delete/sales?erase=true", "").is(t, 200, erased(sales.ID, 5, 3)) // with the two of the deletion
	if n, err := r.Queue().CountDeadLetters(t.Context(), queue.DeadLetterFilter{}); n != 0 || err != nil {
		t.Errorf("%d dead letters are left, %v", n, err)
	}
	r.admin("DELETE", "/instance/delete/sales?erase=true", "").is(t, 200, erased("", 0, 0))
	if _, err := r.registry.Create(t.Context(), instances.Instance{Name: "sales"}, ""); err != nil {
		t.Fatal(err)
	}
	r.admin("DELETE", "/instance/delete/sales?erase=true&id="+sales.ID, "").is(t, 200, erased(sales.ID, 0, 0))
	if _, ok := r.registry.Get("sales"); !ok {
		t.Error("a later instance of the name was deleted")
	}
}

func TestWhatAnEngineCannotEraseIsNotDeleted(t *testing.T) {
	s := newServer(t)
	s.admin("DELETE", "/instance/delete/sales?erase=true", "").says(t, 409)
	if _, ok := s.registry.Get("sales"); !ok {
		t.Error("the instance is gone")
	}
}
