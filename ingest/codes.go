package ingest

import (
	"errors"

	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// Code is an ErrorCode of the contract.
type Code int

// The contract's codes, all that this package answers with.
const (
	codeOK Code = 0

	codeURL          Code = 60002 // the URL cannot be parsed, or is not of the contract's form
	codeBodyAccounts Code = 60003 // the body is not JSON (the push commands say 90001)
	codeNoIdentifier Code = 60004 // the identifier is missing in the URL
	codeNoUserSig    Code = 60005 // the signature is missing in the URL
	codeApp          Code = 60006 // sdkappid is not a known app
	codeFrequency    Code = 60007 // this command has been called calls_per_second times in this second, counted over all processes
	codeCommand      Code = 60009 // no such service or command
	codeRights       Code = 60010 // the identifier is not an app admin (the push commands say 90009, the account commands 70403)
	codeNoApp        Code = 60012 // sdkappid is missing
	codeAccountType  Code = 60015 // an account in the body is not a string
	codeDisabled     Code = 60016 // the app is disabled

	codeExpired        Code = 70001 // the UserSig has expired
	codeMalformedSig   Code = 70003 // the UserSig is malformed
	codeSignature      Code = 70009 // the UserSig's signature does not verify
	codeSigIdentifier  Code = 70013 // the UserSig is of another identifier
	codeSigApp         Code = 70014 // the UserSig is of another sdkappid
	codeFailures       Code = 70050 // too many failed authentications: try again in a minute
	codeNoSuchAccount  Code = 70107 // no such account
	codeParameter      Code = 70402 // a parameter is missing or invalid (account commands)
	codeRightsAccounts Code = 70403 // the caller is not an app admin (account commands)
	codeInternal70     Code = 70500 // internal error: try again (account commands)

	codeBodyPush      Code = 90001 // the body is not JSON, or a field is missing or of a wrong type (push commands)
	codeNoMsgBody     Code = 90002 // MsgBody is missing
	codeRandom        Code = 90005 // MsgRandom is missing or not a uint32
	codeMsgBodyType   Code = 90007 // MsgBody is not an array
	codeSender        Code = 90008 // From_Account is no account of the app
	codeRightsPush    Code = 90009 // the caller is not an app admin (push commands)
	codeElement       Code = 90010 // a message element is malformed
	codeManyOnline    Code = 90011 // over 500 accounts in query_online_status
	codeManyUsers     Code = 90018 // over 100 accounts in one request
	codeTagLong       Code = 90020 // a tag is longer than 50 bytes
	codeTagRepeated   Code = 90022 // a tag is repeated in the condition
	codePushInterval  Code = 90024 // the app's last push, by whichever process, was less than push_interval ago; a repeat within the second is not refused
	codeLifetimeRange Code = 90026 // MsgLifeTime is not in 0…604800
	codeAttrLength    Code = 90030 // an attribute name or value is empty or longer than 50 bytes, or two slots would have one name
	codeManyTags      Code = 90032 // over 10 tags in a condition or in one im_add_tag, or over 100 for one user
	codeAttrUnknown   Code = 90033 // an attribute that the app has not named
	codeMixed         Code = 90039 // tags and attributes in one condition
	codeTagEmpty      Code = 90040 // a tag is empty
	codeOfflineInfo   Code = 90043 // OfflinePushInfo is malformed
	codeLifetimeType  Code = 90044 // MsgLifeTime is not an integer
	codePushDisabled  Code = 90045 // the app is not enabled for push
	codePushPerDay    Code = 90047 // the app's push_per_day are used up, counted over all processes, until midnight
	codeNotImported   Code = 90048 // a change for an account that was never imported
	codeInternal      Code = 91000 // internal error: try again; repeating does no harm
	codeTooLong       Code = 93000 // the message is longer than http.message_limit
)

// internalInfo is all that a caller learns of an internal error.
const internalInfo = "internal error: try again"

// family is how a group of commands calls what every command can meet.
type family struct {
	body     Code // the body is not a JSON object
	field    Code // a field is missing or of a wrong type
	rights   Code // the caller is no admin
	account  Code // no such account
	internal Code
}

var (
	accountsFamily = &family{codeBodyAccounts, codeParameter, codeRightsAccounts, codeNoSuchAccount, codeInternal70}
	pushFamily     = &family{codeBodyPush, codeBodyPush, codeRightsPush, codeNotImported, codeInternal}
	onlineFamily   = &family{codeBodyAccounts, codeParameter, codeRights, codeNoSuchAccount, codeInternal70}
)

// refusal is an error with the code that it is answered with.
type refusal struct {
	code Code
	info string
}

func (r *refusal) Error() string { return r.info }

func refuse(code Code, info string) error { return &refusal{code, info} }

// code is the one place where an error becomes a code and the text that the caller sees. Whatever is not in it is an
// internal error, of which the caller sees no detail.
func (f *family) code(err error) (Code, string) {
	var refused *refusal
	var quota *QuotaError
	var field *fieldError
	var condition *predicate.Error
	switch {
	case errors.As(err, &refused):
		return refused.code, refused.info
	case errors.As(err, &quota):
		return quota.Code, quota.Detail
	case errors.As(err, &field):
		return f.field, field.Error()
	case errors.As(err, &condition):
		return f.condition(condition.Kind), condition.Error()
	case errors.Is(err, directory.ErrNoAccount):
		return f.account, err.Error()
	case errors.Is(err, directory.ErrAttrName):
		return codeAttrLength, err.Error()
	case errors.Is(err, usersig.ErrMalformed):
		return codeMalformedSig, err.Error()
	case errors.Is(err, usersig.ErrApp):
		return codeSigApp, err.Error()
	case errors.Is(err, usersig.ErrIdentifier):
		return codeSigIdentifier, err.Error()
	case errors.Is(err, usersig.ErrSignature):
		return codeSignature, err.Error()
	case errors.Is(err, usersig.ErrExpired):
		return codeExpired, err.Error()
	}
	return f.internal, internalInfo
}

func (f *family) condition(k predicate.Kind) Code {
	switch k {
	case predicate.Mixed:
		return codeMixed
	case predicate.TooManyTags:
		return codeManyTags
	case predicate.TagEmpty:
		return codeTagEmpty
	case predicate.TagTooLong:
		return codeTagLong
	case predicate.TagRepeated:
		return codeTagRepeated
	case predicate.AttrInvalid:
		return codeAttrLength
	case predicate.AttrUnknown:
		return codeAttrUnknown
	}
	return f.body // predicate.Malformed, and predicate.Empty: a list has at least one
}
