package usersig_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/usersig"
)

const (
	key = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
	app = 1400000001
)

var issued = time.Unix(1700000000, 0)

// vectors were made by the vendor's generator for Node, after `npm install tls-sig-api-v2@1.0.2`, with
//
//	Date.now = () => 1700000000000
//	new (require("tls-sig-api-v2").Api)(1400000001, key).genSig(identifier, seconds, userbuf)
var vectors = []struct {
	identifier string
	seconds    int64
	userbuf    []byte
	sig        string
}{
	{"admin", 86400, nil,
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5UInilOzEgoLMFCUrQxMDCDCEyJRk5qYqWRmaQ0UNIKKpFQWZRalKVhZmJjCh4sx0JSsl46LSSiOz4KSkjIycUgu-SveqvChHY22j0Ex37QzzAIMkL0tHT2-DokDtSFulWgCKDi-d"},
	{"xiaoming", 86400, nil,
		"eJw1ycEKwjAQRdF-ma1Sk1JaCbhQW3ShKEbUbXDSMsTG0BQJiv8uNPXt3rkfOO9k8tIdCEgTBtPhE2rbU00DB1LPlmwzNo9GOUcIgmcsjsfSU6tB8GJUFlUHR50GMc*zP3lqQMDerN*rpTSH1F1QHR-lvTthblmxUTi5VXXpt7MUr0aGagHfH1mLMbs_"},
	{"0123456789abcdef0123456789abcdef", 86400, nil,
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwgaGRsYmpmbmFpaJSckpqWnofKie4pTsxIKCzBQlK0MTAwgwhMiUZOamKlkZmkNFDSCiqRUFmUWpSlYWZiYwoeLMdCUrJcf8iMJI9yivgpRK38TyvFTHvCpDc0-TbLPgQCfTVEtHY5coS79UswinsGRbpVoAdtw27Q__"},
	{"小明", 86400, nil,
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwk839D*b0QeVKU7JTiwoyExRsjI0MYAAQ4hMSWZuqpKVoTlU1AAimlpRkFmUqmRlYWYCEyrOTFeyUioyLShNLMs3rzS3MDSJTDFN9fXwCfeoMq-ICg7ysnAz9go1Nqhw8Uy0sMy3VaoFAKkZMg8_"},
	{"🔔🔔", 86400, nil,
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwh-mT5kCwlC54pTsxIKCzBQlK0MTAwgwhMiUZOamKlkZmkNFDSCiqRUFmUWpSlYWZiYwoeLMdCUrJdPgSL*yzCRDnzwPc6NUL9MqfS--oOLKjDLvTBeDKAufqooKA7fcsMgqY19bpVoAY7wz7w__"},
	{"a b&c\"d\\e/<f>", 86400, nil,
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokKSWrJMUopMTGp*jZpdlAlxSnZiQUFmSlKVoYmBhBgCJEpycxNVbIyNIeKGkBEUysKMotSlawszExgQsWZ6UpWSga*BhHphjluaQapodpl2i7J5m5pngWlIZGO2WlhXtmBRhn6hmaelfme*um2SrUAKhIyLw__"},
	{"a\nb\u2028", 86400, nil,
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokxeUmPGlZApYpTshMLCjJTlKwMTQwgwBAiU5KZm6pkZWgOFTWAiKZWFGQWpSpZWZiZwISKM9OVrJTMwoLTtVO9siIjTcLzvHLzfUuTsgqdy-MMil3TMwoL86qcs53dsvP89dMNbJVqAXy*MvY_"},
	{"admin", 604800, []byte("room 7"),
		"eJw1zF0LgjAYBeD-8l6HzJLSQRd2VWGQ*IHrTt0Wb*EczkkS-ffAj3N3ngPnC2mUOIPogMLWIbCZOnKhepQ4cckbVMtg*LvUGjlQ1yNz3HnpsRFA3cOiZFbx0dgJoHvi*atZI7rKSqBQN8FQJeFuPccnUIgl6x8*seGYF-lpzG7X170tYqZlFp1TdWGqTgLDijaKj-D7A9*tOR4_"},
	{"🔔", 604800, []byte("\x00\x01\xfe\xff"),
		"eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwh-mT5kCFS9OyU4sKMhMUbIyNDGAAEOITElmbqqSlaE5VNQAIppaUZBZlKpkZWZgYgETKy1OLUoqTVOyUnJ09NDWL7e1hRmemQ60rSAj2NE7Mdm80Ne8MCvbOD3CsLwiw9jJ2L3EJcQ1ONA70zC8ONPCN82t3NdWqRYADLk4lg__"},
	{"admin", 604800, []byte(""),
		"eJw1zF0LgjAYBeD-8t4ubFtSNugi7MKLkKIPqDt1W7wux5gaQvTfA6fn7jwHzheux0v0UR4E8IjCYuwole1Q48iFbNBOQytN4RxKECymISwsHTYKBNtMSoOqwaFXINY0TmbrW*XLXoOA*RRfIOBOkmyf6mr1pgRjUufPYbl1FktzS8*n-OGkYZxlB17THfz*69w0nA__"},
}

func TestVerifyVendor(t *testing.T) {
	t.Parallel()
	for _, v := range vectors {
		c, err := usersig.Verify(v.sig, []string{key}, app, v.identifier, issued)
		if err != nil {
			t.Errorf("%q: %v", v.identifier, err)
			continue
		}
		expires := issued.Add(time.Duration(v.seconds) * time.Second)
		if c.Identifier != v.identifier || c.App != app || !c.Issued.Equal(issued) || !c.Expires.Equal(expires) ||
			!bytes.Equal(c.Userbuf, v.userbuf) || (c.Userbuf == nil) != (v.userbuf == nil) {
			t.Errorf("%q: got %+v", v.identifier, c)
		}
	}
}
