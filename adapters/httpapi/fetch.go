package httpapi

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/evosink/evosink/core/instances"
)

// fetchInstances is GET /instance/fetchInstances. A token sees its own instance only.
func (a *API) fetchInstances(w http.ResponseWriter, r *http.Request) error {
	who, err := a.anyone(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	match := func(in instances.Instance) bool {
		name, id := q.Get("instanceName"), q.Get("instanceId")
		return who.May(in.Name) && (name == "" || name == in.Name) && (id == "" || id == in.ID) && q.Get("number") == ""
	}
	all := a.opts.Registry.All()
	if name := q.Get("instanceName"); name != "" && !slices.ContainsFunc(all, match) {
		a.recheck(r, "instance "+name)
		all = a.opts.Registry.All()
	}
	rows := []any{}
	for _, in := range all {
		if match(in) {
			rows = append(rows, a.row(in))
		}
	}
	for _, filter := range []string{"instanceName", "instanceId", "number"} { // evosink knows no numbers: none matches
		if wanted := q.Get(filter); wanted != "" && len(rows) == 0 {
			if !who.Global {
				return unauthorized()
			}
			return notFound(fmt.Sprintf(`Instance "%s" not found`, wanted))
		}
	}
	return writeJSON(w, http.StatusOK, rows)
}

// row is an instance as fetchInstances shows it: the columns of Evolution API; what only the API knows is null. Of
// settings there is what all sinks have in common, for the rest may hold secrets.
func (a *API) row(in instances.Instance) any {
	out := map[string]any{
		"id": in.ID, "name": in.Name, "integration": orNull(in.Integration), "token": nil,
		"connectionStatus": nil, "ownerJid": nil, "profileName": nil, "profilePicUrl": nil, "number": nil,
		"createdAt": stamp(in.CreatedAt), "updatedAt": stamp(in.UpdatedAt),
	}
	for _, s := range a.sinks {
		out[s.column()] = s.common(in)
	}
	return out
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
