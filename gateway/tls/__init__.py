"""TLS at both doors: the gateway's own authority, its certificates and who keeps them current.

authority.py pure: what is in a certificate, when it must be made anew · files.py what lies in <state>/tls ·
names.py what this machine is called · given.py certificates of one's own · context.py how TLS is spoken ·
doors.py the certificate of each door while the gateway runs · boards.py what a board must know to verify it
"""
