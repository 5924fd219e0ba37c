package parser

import "strconv"

// Encode appends p's text to dst and returns it with the attachments that have
// to follow it, each as a binary message, in order.
func (p *Packet) Encode(dst []byte) (text []byte, attachments [][]byte) {
	attachments = p.attachments()
	dst = p.appendHeader(dst, len(attachments))
	switch {
	case p.Bare:
	case p.Type == Event, p.Type == Ack:
		dst = p.appendArgs(dst)
	default:
		dst = append(dst, p.Data...)
	}
	return dst, attachments
}

// Size returns about how long p's text is, to allocate once; escapes in the
// name are not counted.
func (p *Packet) Size() int {
	size := len("6") + len(p.Namespace) + len(p.Name) + len(p.Data) + 48
	for _, arg := range p.Args {
		size += len(arg.JSON) + len(",") + 8*len(arg.Attachments)
	}
	return size
}

// attachments returns the binary values in the order of their placeholders.
func (p *Packet) attachments() [][]byte {
	var all [][]byte
	for _, arg := range p.Args {
		arg.eachPlaceholder(func(_, _, num int) { all = append(all, arg.Attachments[num]) })
	}
	return all
}

func (p *Packet) appendHeader(dst []byte, attachments int) []byte {
	t := p.Type
	if attachments > 0 {
		t += binaryEvent - Event
	}
	dst = append(dst, '0'+byte(t))
	if attachments > 0 {
		dst = strconv.AppendInt(dst, int64(attachments), 10)
		dst = append(dst, '-')
	}
	if p.Namespace != "" && p.Namespace != "/" {
		dst = append(dst, p.Namespace...)
		dst = append(dst, ',')
	}
	if p.HasID {
		dst = strconv.AppendUint(dst, p.ID, 10)
	}
	return dst
}

func (p *Packet) appendArgs(dst []byte) []byte {
	dst = append(dst, '[')
	if p.Type == Event {
		dst = AppendString(dst, p.Name)
	}
	num := 0
	for i, arg := range p.Args {
		if i > 0 || p.Type == Event {
			dst = append(dst, ',')
		}
		dst, num = arg.append(dst, num)
	}
	return append(dst, ']')
}

// append appends a's JSON, its placeholders numbered from num, and returns the
// next number.
func (a Arg) append(dst []byte, num int) ([]byte, int) {
	if len(a.Attachments) == 0 {
		return append(dst, a.JSON...), num
	}
	done := 0
	a.eachPlaceholder(func(from, to, _ int) {
		dst = append(dst, a.JSON[done:from]...)
		dst = appendPlaceholder(dst, num)
		done = to
		num++
	})
	return append(dst, a.JSON[done:]...), num
}
