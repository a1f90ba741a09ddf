"""KMS with boto3; what it signs, wraps and agrees on is checked by another library and by openssl."""
import datetime
import hashlib
import hmac
import os
import subprocess
import tempfile

import boto3
from botocore.exceptions import ClientError

kms = boto3.client("kms")
there = boto3.client("kms", region_name="eu-west-1")
work = tempfile.mkdtemp()


def file(name, data=None):
    path = os.path.join(work, name)
    if data is not None:
        with open(path, "wb") as f:
            f.write(data)
    return path


def openssl(*args):
    done = subprocess.run(["openssl", *args], capture_output=True)
    assert done.returncode == 0, (args, done.stderr, done.stdout)
    return done.stdout


def read(name):
    with open(file(name), "rb") as f:
        return f.read()


def refused(code, call, **kwargs):
    try:
        call(**kwargs)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        return
    raise AssertionError(f"{call} was not refused with {code}")


def new(**kwargs):
    return kms.create_key(**kwargs)["KeyMetadata"]["KeyId"]


message = b"what is signed"

# Signatures that openssl verifies.
for spec in ["RSA_2048", "RSA_3072", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_NIST_EDWARDS25519"]:
    key = new(KeySpec=spec, KeyUsage="SIGN_VERIFY")
    public = kms.get_public_key(KeyId=key)
    file("public.der", public["PublicKey"])
    openssl("pkey", "-pubin", "-inform", "DER", "-in", file("public.der"), "-out", file("public.pem"))
    for algorithm in public["SigningAlgorithms"]:
        if algorithm == "ED25519_PH_SHA_512":
            continue
        signature = kms.sign(KeyId=key, Message=message, SigningAlgorithm=algorithm)["Signature"]
        file("message", message)
        file("signature", signature)
        if spec == "ECC_NIST_EDWARDS25519":
            openssl("pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", file("public.pem"), "-in", file("message"), "-sigfile", file("signature"))
            refused("ValidationException", kms.sign, KeyId=key, Message=message, SigningAlgorithm="ED25519_PH_SHA_512")
        else:
            options = []
            if "PSS" in algorithm:
                options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]
            bits = algorithm[-3:]
            openssl("dgst", "-sha" + bits, "-verify", file("public.pem"), *options, "-signature", file("signature"), file("message"))
            digest = hashlib.new("sha" + bits, message).digest()
            assert kms.verify(KeyId=key, Message=digest, MessageType="DIGEST", Signature=signature, SigningAlgorithm=algorithm)["SignatureValid"]
        refused("KMSInvalidSignatureException", kms.verify, KeyId=key, Message=message + b"!", Signature=signature, SigningAlgorithm=algorithm)

# What openssl encrypts under the public key, KMS decrypts.
key = new(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")
file("public.der", kms.get_public_key(KeyId=key)["PublicKey"])
for digest, algorithm in {"sha1": "RSAES_OAEP_SHA_1", "sha256": "RSAES_OAEP_SHA_256"}.items():
    file("plain", b"outside")
    sealed = openssl("pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", file("public.der"), "-in", file("plain"),
                     "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:" + digest)
    assert kms.decrypt(KeyId=key, CiphertextBlob=sealed, EncryptionAlgorithm=algorithm)["Plaintext"] == b"outside"

# openssl agrees with KMS.
key = new(KeySpec="ECC_NIST_P256", KeyUsage="KEY_AGREEMENT")
file("kms.der", kms.get_public_key(KeyId=key)["PublicKey"])
openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", file("mine.pem"))
mine = openssl("pkey", "-in", file("mine.pem"), "-pubout", "-outform", "DER")
openssl("pkey", "-pubin", "-inform", "DER", "-in", file("kms.der"), "-out", file("kms.pem"))
secret = openssl("pkeyutl", "-derive", "-inkey", file("mine.pem"), "-peerkey", file("kms.pem"))
assert kms.derive_shared_secret(KeyId=key, KeyAgreementAlgorithm="ECDH", PublicKey=mine)["SharedSecret"] == secret

# Material that openssl made and wrapped.
def bring(key, material, algorithm, client=kms, **more):
    p = client.get_parameters_for_import(KeyId=key, WrappingAlgorithm=algorithm, WrappingKeySpec="RSA_2048")
    left = p["ParametersValidTo"] - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(hours=23) < left <= datetime.timedelta(hours=24), left
    file("wrapping.der", p["PublicKey"])

    def oaep(data):
        digest = "sha1" if algorithm.endswith("SHA_1") else "sha256"
        file("plain", data)
        return openssl("pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", file("wrapping.der"), "-in", file("plain"),
                       "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:" + digest, "-pkeyopt", "rsa_mgf1_md:" + digest)

    if algorithm.startswith("RSA_AES"):
        kek = os.urandom(32)
        file("plain", material)
        wrapped = oaep(kek)
        file("plain", material)
        wrapped += openssl("enc", "-id-aes256-wrap-pad", "-K", kek.hex(), "-iv", "A65959A6", "-in", file("plain"))
    else:
        wrapped = oaep(material)
    more.setdefault("ExpirationModel", "KEY_MATERIAL_DOES_NOT_EXPIRE")
    return client.import_key_material(KeyId=key, ImportToken=p["ImportToken"], EncryptedKeyMaterial=wrapped, **more)


secret = os.urandom(32)
key = new(Origin="EXTERNAL", MultiRegion=True)
refused("KMSInvalidStateException", kms.encrypt, KeyId=key, Plaintext=b"x")
bring(key, secret, "RSAES_OAEP_SHA_256", ExpirationModel="KEY_MATERIAL_EXPIRES", ValidTo=datetime.datetime.now() + datetime.timedelta(days=3))
assert kms.describe_key(KeyId=key)["KeyMetadata"]["ExpirationModel"] == "KEY_MATERIAL_EXPIRES"
sealed = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
assert kms.replicate_key(KeyId=key, ReplicaRegion="eu-west-1")["ReplicaKeyMetadata"]["KeyState"] == "PendingImport"
bring(key, secret, "RSAES_OAEP_SHA_1", there)
assert there.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"

key = new(Origin="EXTERNAL", KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
bring(key, secret, "RSAES_OAEP_SHA_1")
mac = kms.generate_mac(KeyId=key, Message=message, MacAlgorithm="HMAC_SHA_256")["Mac"]
assert mac == hmac.new(secret, message, "sha256").digest()

for spec, options, algorithm in [
    ("RSA_2048", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "RSASSA_PKCS1_V1_5_SHA_256"),
    ("ECC_NIST_P384", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "ECDSA_SHA_384"),
    ("ECC_NIST_EDWARDS25519", ["-algorithm", "ED25519"], "ED25519_SHA_512"),
]:
    openssl("genpkey", *options, "-out", file("mine.pem"))
    material = openssl("pkcs8", "-topk8", "-nocrypt", "-in", file("mine.pem"), "-outform", "DER")
    key = new(Origin="EXTERNAL", KeySpec=spec, KeyUsage="SIGN_VERIFY")
    bring(key, material, "RSA_AES_KEY_WRAP_SHA_256")
    assert kms.get_public_key(KeyId=key)["PublicKey"] == openssl("pkey", "-in", file("mine.pem"), "-pubout", "-outform", "DER")
    kms.sign(KeyId=key, Message=message, SigningAlgorithm=algorithm)
    kms.delete_imported_key_material(KeyId=key)
    refused("KMSInvalidStateException", kms.sign, KeyId=key, Message=message, SigningAlgorithm=algorithm)
    bring(key, material, "RSA_AES_KEY_WRAP_SHA_1")

# Pairs for data.
key = new()
pair = kms.generate_data_key_pair(KeyId=key, KeyPairSpec="RSA_2048", EncryptionContext={"a": "b"})
file("pair.der", pair["PrivateKeyPlaintext"])
assert openssl("pkey", "-inform", "DER", "-in", file("pair.der"), "-pubout", "-outform", "DER") == pair["PublicKey"]
opened = kms.decrypt(CiphertextBlob=pair["PrivateKeyCiphertextBlob"], EncryptionContext={"a": "b"})
assert opened["Plaintext"] == pair["PrivateKeyPlaintext"]

# Keys of several Regions.
key = new(MultiRegion=True)
kms.replicate_key(KeyId=key, ReplicaRegion="eu-west-1", Description="there")
sealed = there.encrypt(KeyId=key, Plaintext=b"moved")["CiphertextBlob"]
kms.update_primary_region(KeyId=key, PrimaryRegion="eu-west-1")
there.rotate_key_on_demand(KeyId=key)
assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"moved"
regions = kms.describe_key(KeyId=key)["KeyMetadata"]["MultiRegionConfiguration"]
assert regions["MultiRegionKeyType"] == "REPLICA" and regions["PrimaryKey"]["Region"] == "eu-west-1", regions
refused("UnsupportedOperationException", kms.create_key, KeySpec="ML_DSA_65", KeyUsage="SIGN_VERIFY")
print("ok")
