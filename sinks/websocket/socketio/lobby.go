package socketio

import (
	"container/list"
	"sync"
)

// A lobby holds the clients that have joined no namespace yet. It bounds them, in all and of one origin: of polling
// clients nothing else would, for they need no connection of their own. For a new one that is too much, the one that has
// been there for the longest has to go. Clients that mean to join do so within moments.
type lobby struct {
	most, each int

	mu sync.Mutex
	// mu guards the fields below, and the place of every client. A site that has no clients is removed.
	clients *list.List // of *place, the oldest first
	sites   map[any]*list.List
}

// A place is a client's in the lobby.
type place struct {
	client *Client
	site   any
	in, at *list.Element // of the list of all, of that of the site
}

func newLobby(most, each int) *lobby {
	return &lobby{most: most, each: each, clients: list.New(), sites: map[any]*list.List{}}
}

// enter gives a new client its place. It returns the client that has to go for it, nil if there is room.
func (l *lobby) enter(c *Client, site any) (victim *Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	same := l.sites[site]
	if same == nil {
		same = list.New()
		l.sites[site] = same
	}
	p := &place{client: c, site: site}
	p.in, p.at, c.place = l.clients.PushBack(p), same.PushBack(p), p
	switch {
	case same.Len() > l.each:
		victim = same.Front().Value.(*place).client
	case l.clients.Len() > l.most:
		victim = l.clients.Front().Value.(*place).client
	default:
		return nil
	}
	l.remove(victim)
	return victim
}

// leave takes a client out, which has joined a namespace or is gone.
func (l *lobby) leave(c *Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(c)
}

// remove is leave. Held: mu.
func (l *lobby) remove(c *Client) {
	p := c.place
	if p == nil {
		return
	}
	c.place = nil
	l.clients.Remove(p.in)
	same := l.sites[p.site]
	if same.Remove(p.at); same.Len() == 0 {
		delete(l.sites, p.site)
	}
}
