"""Devices behind one port: `acl` (pyACL), `twin` (rehearsed on the host), `cpu`, adaptors."""
