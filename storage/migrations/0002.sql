-- What a replica said to have on its disk in a Lamport epoch, as ordering.Acked
-- encodes it; NULL for nothing.
ALTER TABLE seen ADD COLUMN acked BLOB;
