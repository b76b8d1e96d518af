package ingest

import (
	"errors"
	"fmt"
)

// FieldError says what is wrong with a part of a message, and where: Path is like body[0].MsgContent.Text.
type FieldError struct{ Path, Detail string }

func (e *FieldError) Error() string { return e.Path + ": " + e.Detail }

// CheckElements says what is wrong with a message's elements, which are JSON in UTF-8 at the given path: nil, or a
// *FieldError. Package native takes the same elements as the contract's MsgBody.
func CheckElements(path string, raw []byte) error {
	if tooDeep(raw) {
		return &FieldError{path, fmt.Sprintf("arrays and objects in more than %d levels", maxDepth)}
	}
	items, err := newValue(path, raw).list()
	if err == nil && len(items) == 0 {
		err = &fieldError{path, "it has no element"}
	}
	if err == nil {
		err = checkElements(items)
	}
	return exported(err)
}

// CheckOfflineInfo says what is wrong with the part for vendor channels: nil, or a *FieldError.
func CheckOfflineInfo(path string, raw []byte) error {
	if len(raw) > maxOfflineInfo {
		return &FieldError{path, fmt.Sprintf("%d bytes, at most %d are allowed", len(raw), maxOfflineInfo)}
	}
	if tooDeep(raw) {
		return &FieldError{path, fmt.Sprintf("arrays and objects in more than %d levels", maxDepth)}
	}
	return exported(offlineInfo.check(newValue(path, raw)))
}

func exported(err error) error {
	var field *fieldError
	if errors.As(err, &field) {
		return &FieldError{field.path, field.detail}
	}
	return err
}
